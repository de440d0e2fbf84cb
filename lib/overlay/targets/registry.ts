/** The kinds of targets that there are: another one is another file, and a line here. */
export { docker } from './docker.js';
export { netns } from './netns.js';
export { path } from './path.js';
export { pid } from './pid.js';
export { podman } from './podman.js';
