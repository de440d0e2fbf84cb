/** It comes without types: finds and loads the addon below a package's root. */
declare module 'node-gyp-build' {
  export default function load(root: string): unknown;
}
