/** Network namespaces as things to make, name, hold open, watch and use. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Cancel } from '../core/abort.js';
import { abortError, raceAbort, throwIfAborted } from '../core/abort.js';
import { invalidType, type OvernsError } from '../core/errors.js';
import { checkOptions } from '../core/options.js';
import type { QueueOptions, Subscription } from '../core/subscription.js';
import { createSubscription, queueOptions } from '../core/subscription.js';
import { kernel } from '../system/kernel-error.js';
import { callOptions, checkSystem, machine, type OnSystem } from '../system/system.js';
import type { NetnsRef } from './references.js';
import { checkNetnsName, listNetns, netnsFile, netnsPath } from './references.js';
import { type NetnsEvent, netnsChange, watchNetns } from './watch.js';

/**
 * A namespace held open: it lives at least until this is closed, whatever becomes of its name or process.
 * @example
 * ```ts
 * import { netns, Rtnl } from 'overns';
 *
 * await using held = await netns.open('web'); // an OpenNetns
 * await using rtnl = await Rtnl.open({ netns: held });
 * console.log((await rtnl.links.list()).length); // 1
 * ```
 */
export interface OpenNetns extends AsyncDisposable {
  /** Leads to the namespace while this is open, in this process: any function here takes this object as a reference. */
  readonly path: string;
  /** Idempotent. */
  close(): Promise<void>;
}

/**
 * The named namespaces (in /run/netns, or OVERNS_NETNS_DIR), sorted. A name that is not UTF-8 is left out, since no text
 * stands for it.
 * @throws Error of fs.readdir, except that a directory which is not there has none; AbortError
 * @example
 * ```ts
 * import { netns } from 'overns';
 *
 * console.log(await netns.list()); // [ 'db', 'web' ]
 * ```
 */
export async function list(options?: Cancel & OnSystem): Promise<readonly string[]> {
  const { signal, system = machine } = checkOptions(options, callOptions);
  throwIfAborted(signal);
  return raceAbort(listNetns(system), signal);
}

/**
 * Makes a named namespace, as `ip netns add`: nothing in it but a loopback that is down.
 * @param name 1 to 255 bytes, without "/" or control characters
 * @throws NetlinkError `EEXIST`, `EPERM`; RangeError, TypeError
 * @example
 * ```ts
 * import { netns } from 'overns';
 *
 * await netns.create('blue');
 * const again = await netns.create('blue').catch((error) => error);
 * console.log(again.code); // EEXIST
 * ```
 */
export async function create(name: string, options?: Cancel & OnSystem): Promise<void> {
  checkName(name);
  const { signal, system = machine } = checkOptions(options, callOptions);
  throwIfAborted(signal);
  const path = netnsFile(name);
  await kernel({ what: `make namespace ${path}`, request: { name } }, system.native.createNetns(path));
}

/** Longer nobody takes who is just making or removing a namespace, milliseconds. */
const PATIENCE_MS = 1000;
/** How soon it is looked at again, milliseconds. */
const RETRY_MS = 2;

/**
 * Makes a named namespace unless it is there already.
 * @param name as of {@link create}
 * @returns true when this call has made it
 * @throws NetlinkError `EPERM`, ...; OvernsError `EINVAL` for a file of that name that is no namespace; RangeError, TypeError
 * @example
 * ```ts
 * import { netns } from 'overns';
 *
 * console.log(await netns.ensure('blue'), await netns.ensure('blue')); // true false
 * ```
 */
export async function ensure(name: string, options?: Cancel & OnSystem): Promise<boolean> {
  checkName(name);
  const { signal, system = machine } = checkOptions(options, callOptions);
  const deadline = performance.now() + PATIENCE_MS;
  for (;;) {
    throwIfAborted(signal);
    let refusal: OvernsError;
    try {
      await netnsPath(system, name, 'name');
      return false;
    } catch (error) {
      refusal = error as OvernsError;
    }
    if (refusal.code === 'ENOENT') {
      try {
        await create(name, { signal, system });
        return true;
      } catch (error) {
        refusal = error as OvernsError;
      }
    }
    // Somebody is just making or removing it: a name is a file first, and a namespace a moment later.
    const passing = refusal.code === 'EEXIST' || refusal.code === 'EINVAL';
    if (!passing || performance.now() > deadline) throw refusal;
    await sleep(RETRY_MS);
  }
}

/**
 * Removes a name, as `ip netns delete`. The namespace itself goes with the last process and socket in it.
 * @throws NetlinkError `ENOENT`, `EPERM`; `EINVAL` for a file that is no namespace; RangeError, TypeError
 * @example
 * ```ts
 * import { netns } from 'overns';
 *
 * await netns.create('blue');
 * await netns.remove('blue');
 * console.log(await netns.list()); // [ 'db', 'web' ]
 * ```
 */
export async function remove(name: string, options?: Cancel & OnSystem): Promise<void> {
  checkName(name);
  const { signal, system = machine } = checkOptions(options, callOptions);
  throwIfAborted(signal);
  const path = netnsFile(name);
  await kernel({ what: `remove namespace ${path}`, request: { name } }, system.native.deleteNetns(path));
}

/**
 * Holds a namespace open by its name, path or process.
 * @param ref undefined: the caller's own
 * @throws OvernsError `ENOENT`, `ESRCH`, `EACCES`, `EINVAL` (no network namespace); RangeError, TypeError; AbortError
 * @example
 * ```ts
 * import { netns, Rtnl } from 'overns';
 *
 * await using web = await netns.open('web'); // or { pid: 4711 }
 * await netns.remove('web');
 * await using rtnl = await Rtnl.open({ netns: web });
 * console.log((await rtnl.links.list()).map(({ name }) => name)); // [ 'lo' ]
 * ```
 */
export async function open(ref?: NetnsRef, options?: Cancel & OnSystem): Promise<OpenNetns> {
  const { signal, system = machine } = checkOptions(options, callOptions);
  throwIfAborted(signal);
  const file = await system.nsfs.open(await netnsPath(system, ref));
  if (signal?.aborted) {
    await file.close();
    throw abortError(signal);
  }
  let closing: Promise<void> | undefined;
  const close = (): Promise<void> => {
    closing ??= file.close();
    return closing;
  };
  return { path: file.path, close, [Symbol.asyncDispose]: close };
}

/**
 * The named namespaces that come and go, from the moment this returns.
 * @throws TypeError, RangeError for an option
 * @example
 * ```ts
 * import { netns } from 'overns';
 *
 * const events = netns.watch();
 * await netns.create('blue');
 * for await (const event of events) {
 *   if (event.kind === 'netns') console.log(event.action, event.name); // new blue
 *   break;
 * }
 * ```
 */
export function watch(options: QueueOptions & OnSystem = {}): Subscription<NetnsEvent> {
  const { system = machine, ...queued } = checkOptions(options, { system: checkSystem, ...queueOptions });
  return createSubscription<NetnsEvent>(
    queued,
    (queue) => watchNetns(system, (action, name) => queue.push(netnsChange(action, name))),
    { overflow: (dropped) => ({ kind: 'overrun', dropped }) },
  );
}

function checkName(name: unknown): void {
  if (typeof name !== 'string') throw invalidType('name', name, 'a string');
  checkNetnsName(name, 'name');
}

export { exec, spawn } from './program.js';
export { connect, dgram, listen } from './sockets.js';
export { remove as delete };
