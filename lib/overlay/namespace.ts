/** Entering the namespace of an overlay while others may be making, removing or replacing it. */
import { setTimeout as sleep } from 'node:timers/promises';
import { throwIfAborted } from '../core/abort.js';
import { NetlinkError, OvernsError } from '../core/errors.js';
import { netnsIdentity, netnsPath } from '../netns/references.js';
import { Rtnl } from '../rtnl/rtnl.js';
import type { System } from '../system/system.js';

/** How soon a namespace that is on its way is looked at again, the first time and in the end, milliseconds. */
const SOON_MS = 2;
const SELDOM_MS = 20;

/** The namespace that was found is on its way to something else: to be looked at again. */
export class Passing extends Error {}

/**
 * Runs something until what it meets is not on its way any more.
 * @throws OvernsError `EBUSY` when that is not so within `patienceMs`; what was met last where that is no namespace
 */
export async function settled<T>(
  name: string,
  patienceMs: number,
  signal: AbortSignal | undefined,
  run: () => Promise<T>,
): Promise<T> {
  const deadline = performance.now() + patienceMs;
  for (let pause = SOON_MS; ; pause = Math.min(2 * pause, SELDOM_MS)) {
    throwIfAborted(signal);
    try {
      return await run();
    } catch (error) {
      if (!(error instanceof Passing)) throw error;
      if (performance.now() < deadline) {
        await sleep(pause);
        continue;
      }
      const { cause } = error;
      if (OvernsError.is(cause) && !(cause instanceof NetlinkError)) throw cause;
      throw new OvernsError('EBUSY', `others make and remove the namespace "${name}" all the time`, {
        hint: 'end them, or try again',
        cause,
      });
    }
  }
}

/**
 * Runs something that needs the namespace of a name, which others may be making or removing: a name is a file first, a
 * namespace a moment later, and a file again in the end.
 * @throws Passing for `ENOENT` and `EINVAL`
 */
export async function there<T>(run: () => Promise<T>): Promise<T> {
  try {
    return await run();
  } catch (cause) {
    const passing = ['ENOENT', 'EINVAL'].includes((cause as NodeJS.ErrnoException).code ?? '');
    throw passing ? new Passing('gone', { cause }) : cause;
  }
}

/** A socket in a namespace, which keeps it alive, and what that namespace is known by. */
export interface Entered {
  readonly rtnl: Rtnl;
  readonly identity: string;
}

/** Opens a socket in the namespace that has the path. The receiver closes it. */
export async function enter(system: System, path: string, signal: AbortSignal | undefined): Promise<Entered> {
  for (;;) {
    const identity = await netnsIdentity(system, path).catch(() => undefined);
    const rtnl = await Rtnl.open({ netns: { path }, signal, system });
    // From here on the namespace lives, and nothing else is known by the same.
    if (identity !== undefined && identity === (await netnsIdentity(system, path).catch(() => undefined)))
      return { rtnl, identity };
    await rtnl.close();
  }
}

/**
 * The path of the namespace that an overlay of this name has.
 * @throws OvernsError `ENOENT`, `EINVAL` (it is no namespace)
 */
export async function overlayPath(system: System, name: string): Promise<string> {
  try {
    return await netnsPath(system, name, 'name');
  } catch (cause) {
    if (!OvernsError.is(cause) || cause.code !== 'ENOENT') throw cause;
    throw new OvernsError('ENOENT', `there is no overlay "${name}": ${cause.message}`, {
      hint: '`Overlay.list()` shows those there are; `OVERNS_NETNS_DIR` names another directory',
      cause,
    });
  }
}

/** How long the namespace of a name may be on its way for who does not make it, milliseconds. */
const BRIEFLY_MS = 100;

/**
 * Runs something in the namespace of a name, and closes the socket when that fails.
 * @param run may throw Passing, to be run again
 * @throws OvernsError `ENOENT`, `EINVAL` (it is no namespace)
 */
export function inNamed<T>(
  system: System,
  name: string,
  signal: AbortSignal | undefined,
  run: (entered: Entered & { readonly path: string }) => Promise<T>,
): Promise<T> {
  return settled(name, BRIEFLY_MS, signal, async () => {
    const path = await overlayPath(system, name).catch((error: OvernsError) => {
      throw error.code === 'EINVAL' ? new Passing('on its way', { cause: error }) : error;
    });
    const entered = await there(() => enter(system, path, signal));
    try {
      return await run({ path, ...entered });
    } catch (error) {
      await entered.rtnl.close();
      throw error;
    }
  });
}
