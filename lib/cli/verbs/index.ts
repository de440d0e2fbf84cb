/** All verbs, in the order of their use. Each is loaded when it is called. */
import type { Verb } from '../verb.js';

const loaders = {
  create: () => import('./create.js'),
  delete: () => import('./delete.js'),
  attach: () => import('./attach.js'),
  detach: () => import('./detach.js'),
  agent: () => import('./agent.js'),
  misses: () => import('./misses.js'),
  monitor: () => import('./monitor.js'),
  show: () => import('./show.js'),
  records: () => import('./records.js'),
  doctor: () => import('./doctor.js'),
  demo: () => import('./demo.js'),
  completion: async () => ({ verb: (await import('./completion.js')).completion(loadVerbs, aliases) }),
} satisfies Record<string, () => Promise<{ verb: Verb }>>;

export const verbNames = Object.keys(loaders);

/** Other tools' names of a verb. */
export const aliases: Readonly<Record<string, string>> = { ls: 'show', list: 'show', rm: 'delete', remove: 'delete' };

export async function loadVerb(name: string): Promise<Verb | undefined> {
  return Object.hasOwn(loaders, name) ? (await loaders[name as keyof typeof loaders]()).verb : undefined;
}

export async function loadVerbs(): Promise<Verb[]> {
  return (await Promise.all(Object.values(loaders).map((load) => load()))).map(({ verb }) => verb);
}
