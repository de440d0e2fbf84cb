/** What `overns demo` does. */
import { OvernsError } from '../../errors.js';
import type { Context } from '../verb.js';

export interface DemoOptions {
  /** A store URL; undefined = a store inside the demo. */
  readonly store: string | undefined;
  /** Test hosts, 2 or more. */
  readonly hosts: number;
}

/** Resolves to the exit status: 0 if no ping was lost. */
export async function demo(_options: DemoOptions, _context: Context): Promise<number> {
  throw new OvernsError('OVERNS_UNSUPPORTED', 'demo: not in this build', { hint: 'follow the README by hand' });
}
