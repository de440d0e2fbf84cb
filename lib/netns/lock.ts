/**
 * One after the other, across processes: an abstract unix socket in a namespace, whose name the kernel gives to one holder
 * at a time and releases with it. So what is found half-made while it is held was left by one that has died.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { raceAbort, throwIfAborted } from '../core/abort.js';
import { OvernsError } from '../core/errors.js';
import { kernel } from '../system/kernel-error.js';
import type { System } from '../system/system.js';
import type { UnixSocket } from '../system/unix-sockets.js';
import { netnsIdentity } from './references.js';

const NAME = 'overns-change';
/** Longer no holder takes that still works, milliseconds. */
const PATIENCE_MS = 10_000;
/** How soon it is tried again where nobody can be waited for, milliseconds. */
const RETRY_MS = 2;

/** By machine and namespace: the end of the last one of this process that has asked. */
const queues = new WeakMap<System, Map<string, Promise<void>>>();

function queuesOf(system: System): Map<string, Promise<void>> {
  const known = queues.get(system) ?? new Map<string, Promise<void>>();
  queues.set(system, known);
  return known;
}

/**
 * Waits for the turn in the namespace at `path`. The result gives it up; it may be called more than once.
 * @param identity what the namespace is known by; default: that of the one which has the path now
 * @throws OvernsError `EBUSY` when another holds it for too long, `ENOENT` when the path is that namespace's no more;
 *   AbortError; NetlinkError
 */
export async function lockNamespace(
  system: System,
  path: string,
  signal: AbortSignal | undefined,
  identity?: string,
): Promise<() => void> {
  const key = identity ?? (await identityNow(system, path));
  if (key === undefined) throw removed(path);
  const waiting = queuesOf(system);
  const before = waiting.get(key) ?? Promise.resolve();
  let pass = (): void => {};
  const turn = before.then(() => new Promise<void>((resolve) => (pass = resolve)));
  // Those of this process wait for each other here, so that one of them at a time tries for the name.
  const own = turn.then(() => {
    if (waiting.get(key) === own) waiting.delete(key);
  });
  waiting.set(key, own);
  try {
    await raceAbort(before, signal);
    const release = await claim(system, path, signal).catch(async (error) => {
      throw (await identityNow(system, path)) === key ? error : removed(path, error);
    });
    // The name was taken where the path led to just now.
    if ((await identityNow(system, path)) !== key) {
      release();
      throw removed(path);
    }
    return () => {
      release();
      pass();
    };
  } catch (error) {
    before.then(() => pass());
    throw error;
  }
}

async function identityNow(system: System, path: string): Promise<string | undefined> {
  try {
    return await netnsIdentity(system, path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

function removed(path: string, cause?: unknown): OvernsError {
  return new OvernsError('ENOENT', `the namespace ${path} has been removed meanwhile`, {
    hint: 'make it again, or open the one that has its name now',
    cause,
  });
}

async function claim(system: System, path: string, signal: AbortSignal | undefined): Promise<() => void> {
  const deadline = performance.now() + PATIENCE_MS;
  for (;;) {
    throwIfAborted(signal);
    const waiting = new Set<UnixSocket>();
    try {
      const server = await kernel(
        { what: 'take the turn', netns: path },
        system.unixSockets.listen(path, NAME, (socket) => {
          waiting.add(socket);
          socket.on('error', () => {});
          socket.on('close', () => waiting.delete(socket));
        }),
      );
      server.unref();
      const release = (): void => {
        void server.close();
        for (const socket of waiting) socket.destroy();
      };
      if (!signal?.aborted) return release;
      release();
    } catch (error) {
      if (!OvernsError.is(error) || error.code !== 'EADDRINUSE') throw error;
      if (performance.now() > deadline) {
        throw new OvernsError('EBUSY', `another process has been changing ${path} for ${PATIENCE_MS / 1000} s`, {
          hint: 'it is stopped or stuck: end it',
          cause: error,
        });
      }
      await untilReleased(system, path, deadline, signal);
    }
  }
}

/** Waits until whoever holds the name gives it up or dies. */
async function untilReleased(
  system: System,
  path: string,
  deadline: number,
  signal: AbortSignal | undefined,
): Promise<void> {
  let socket: UnixSocket;
  try {
    socket = await system.unixSockets.connect(path, NAME);
  } catch {
    // Given up meanwhile, or too many wait already.
    await sleep(RETRY_MS);
    return;
  }
  const late = setTimeout(() => socket.destroy(), Math.max(0, deadline - performance.now()));
  try {
    socket.on('error', () => {});
    socket.resume(); // a socket that nobody reads from does not tell of its end
    await raceAbort(new Promise<void>((resolve) => void socket.once('close', () => resolve())), signal);
  } finally {
    clearTimeout(late);
    socket.destroy();
  }
}
