/**
 * The resolver of an overlay, as other processes find it: an abstract unix socket in the overlay's namespace. Holding
 * the name is the lock that makes it the only one; the kernel releases it with its holder. Behind it, JSON lines.
 */
import { StringDecoder } from 'node:string_decoder';
import { raceAbort } from '../core/abort.js';
import { OvernsError } from '../core/errors.js';
import { isNativeFailure, kernel, netlinkError } from '../system/kernel-error.js';
import type { System } from '../system/system.js';
import type { Peer, UnixServer, UnixSocket } from '../system/unix-sockets.js';

const NAME = 'overns';
const ANSWER_TIMEOUT_MS = 5000;
/** How long a peer may take to read what it was told, once the socket is to be closed. */
const CLOSE_MS = 1000;
/** Longest line that either side reads, bytes. */
const LINE_MAX = 1 << 20;

/**
 * Requests that a resolver answers. One that it does not know is answered with an error, so that those of another version are: `publish`,
 * `allocate` and `withdraw` are for an agent that publishes, which says so in its answer to `stats`.
 */
export type ControlRequest = {
  readonly op: 'stats' | 'release' | 'keep' | 'deleted' | 'misses' | 'publish' | 'allocate' | 'withdraw';
  readonly [key: string]: unknown;
};
export type ControlAnswer = { readonly ok: boolean; readonly error?: string; readonly [key: string]: unknown };

/** The one who asked: for requests that are answered with a stream of lines, or hold as long as the connection does. */
export interface ControlPeer {
  readonly pid: number | undefined;
  send(line: object): void;
  onClose(listener: () => void): void;
  close(): void;
}

export interface ControlServer extends Pick<UnixServer, 'ref' | 'unref'> {
  /** Gives the name up and ends the connections, all but that of `kept`. */
  close(kept?: ControlPeer): Promise<void>;
}

/**
 * Becomes the resolver of the overlay in the namespace at `path`.
 * @throws NetlinkError `EADDRINUSE` when another holds it
 */
export async function serveControl(
  system: System,
  path: string,
  answer: (request: ControlRequest, peer: ControlPeer) => Promise<ControlAnswer> | ControlAnswer,
): Promise<ControlServer> {
  const sockets = new Map<UnixSocket, ControlPeer>();
  const onConnection = (socket: UnixSocket): void => {
    socket.on('close', () => sockets.delete(socket));
    socket.on('error', () => socket.destroy());
    const peer: ControlPeer = {
      pid: socket.peer?.pid,
      send: (line) => {
        // A peer that does not read is cut off: it must not make this process hold what it misses.
        if (socket.writableLength > LINE_MAX) socket.destroy();
        else if (!socket.destroyed) socket.write(`${JSON.stringify(line)}\n`);
      },
      onClose: (listener) => void socket.once('close', listener),
      close: () => void socket.destroy(),
    };
    sockets.set(socket, peer);
    const refuse = (error: string): void => void socket.end(`${JSON.stringify({ ok: false, error })}\n`);
    if (!trusted(socket.peer)) {
      refuse('for root, and for the user that the resolver runs as');
      return;
    }
    lines(socket, (line) => {
      const request = parse(line) as Partial<ControlRequest> | undefined;
      if (typeof request?.op !== 'string') {
        refuse('not a request, which is an object with op, as JSON');
        return;
      }
      Promise.resolve()
        .then(() => answer(request as ControlRequest, peer))
        .catch((error: Error) => ({ ok: false, error: error.message }))
        .then((result) => {
          if (!socket.destroyed) socket.write(`${JSON.stringify(result)}\n`);
        });
    });
  };
  const server = await kernel(
    { what: 'claim the overlay', netns: path },
    system.unixSockets.listen(path, NAME, onConnection),
  );
  return {
    ref: () => server.ref(),
    unref: () => server.unref(),
    close: async (kept) => {
      void server.close(); // which waits for all connections; the name is free at once
      const ending = [...sockets].flatMap(([socket, peer]) => (peer === kept ? [] : [socket]));
      // One that is stopped reads nothing, for ever.
      const late = setTimeout(() => {
        for (const socket of ending) socket.destroy();
      }, CLOSE_MS);
      await Promise.all(
        ending.map((socket) => {
          socket.destroySoon();
          return new Promise((resolve) => socket.once('close', resolve));
        }),
      );
      clearTimeout(late);
    },
  };
}

/**
 * Asks the resolver that serves the overlay in the namespace at `path`. What answers is checked: somebody else may hold
 * the name.
 * @returns undefined when there is none
 * @throws OvernsError `ETIMEDOUT`, `EPROTO` (it is no resolver, or one of another version), `EACCES` (it is another
 *   user's process); NetlinkError
 */
export async function askControl(
  system: System,
  path: string,
  request: ControlRequest,
  signal?: AbortSignal | undefined,
  patienceMs = ANSWER_TIMEOUT_MS,
): Promise<ControlAnswer | undefined> {
  const resolver = await reachControl(system, path, patienceMs);
  try {
    return await resolver?.ask(request, signal);
  } finally {
    resolver?.close();
  }
}

/** A connection to the resolver of an overlay. */
export interface ControlConnection {
  /** Asks, one thing after the other; undefined when it has ended meanwhile. Throws as {@link askControl}. */
  ask(request: ControlRequest, signal?: AbortSignal | undefined): Promise<ControlAnswer | undefined>;
  close(): void;
}

/**
 * Connects to the resolver that serves the overlay in the namespace at `path`, for who asks it later.
 * @returns undefined when there is none
 * @throws OvernsError `EACCES`; NetlinkError
 */
export async function reachControl(
  system: System,
  path: string,
  patienceMs = ANSWER_TIMEOUT_MS,
): Promise<ControlConnection | undefined> {
  const socket = await connect(system, path);
  if (!socket) return undefined;
  socket.on('error', () => {});
  return {
    ask: (request, signal) => raceAbort(ask(path, socket, request, patienceMs), signal),
    close: () => void socket.destroy(),
  };
}

function ask(
  path: string,
  socket: UnixSocket,
  request: ControlRequest,
  patienceMs: number,
): Promise<ControlAnswer | undefined> {
  return new Promise((resolve, reject) => {
    if (socket.closed) {
      resolve(undefined);
      return;
    }
    const timer = setTimeout(() => reject(silent(path, socket)), patienceMs);
    const onLine = (line: string): void => {
      clearTimeout(timer);
      const answer = parseAnswer(line);
      if (answer) resolve(answer);
      else reject(nonsense(path, socket));
    };
    lines(socket, onLine, () => onLine(''));
    socket.on('close', () => {
      clearTimeout(timer);
      resolve(undefined); // it has ended meanwhile
    });
    socket.write(`${JSON.stringify(request)}\n`);
  });
}

/** Callbacks of a follower, for what it is sent. */
export interface ControlFollower {
  /** Takes a line behind the first answer. False: it makes no sense. */
  line(line: Readonly<Record<string, unknown>>): boolean;
  /** It has ended, or there is none: called once. With an error where what answers cannot be used. */
  end(error?: Error): void;
}

/** Follows what the resolver of an overlay tells. Returns what stops it. */
export function followControl(
  system: System,
  path: string,
  request: ControlRequest,
  follower: ControlFollower,
): () => void {
  let socket: UnixSocket | undefined;
  let timer: NodeJS.Timeout | undefined;
  let stopped = false;
  const stop = (): void => {
    stopped = true;
    clearTimeout(timer);
    socket?.destroy();
  };
  const end = (error?: Error): void => {
    if (stopped) return;
    stop();
    follower.end(error);
  };
  connect(system, path).then((connected) => {
    socket = connected;
    if (!connected || stopped) {
      connected?.destroy();
      end();
      return;
    }
    connected.unref(); // what it belongs to keeps the process alive, or does not
    connected.on('error', () => {});
    connected.on('close', () => end());
    timer = setTimeout(() => end(silent(path, connected)), ANSWER_TIMEOUT_MS);
    timer.unref();
    let first = true;
    const bad = (): void => end(nonsense(path, connected));
    lines(
      connected,
      (line) => {
        const parsed = parse(line);
        if (!first) {
          if (parsed === undefined || !follower.line(parsed)) bad();
          return;
        }
        first = false;
        clearTimeout(timer);
        if (parseAnswer(line)?.ok !== true) bad();
      },
      bad,
    );
    connected.write(`${JSON.stringify(request)}\n`);
  }, end);
  return stop;
}

/** An object, of a line of JSON; undefined for any other text. */
function parse(line: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const parsed: unknown = JSON.parse(line);
    return typeof parsed === 'object' && parsed !== null ? (parsed as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}

function parseAnswer(line: string): ControlAnswer | undefined {
  const parsed = parse(line);
  return typeof parsed?.ok === 'boolean' ? (parsed as ControlAnswer) : undefined;
}

/** Root, and the user that this process runs as: in an overlay's namespace others may hold the name, and connect. */
function trusted(peer: Peer | undefined): boolean {
  return peer !== undefined && (peer.uid === 0 || peer.uid === process.geteuid?.());
}

function who({ peer }: UnixSocket): string {
  return peer === undefined ? '' : ` (pid ${peer.pid})`;
}

/** A resolver that has its overlay, and does not answer in time. */
export class SilentResolver extends OvernsError {
  /** Its process, where the kernel says. */
  readonly pid: number | undefined;

  constructor(path: string, pid: number | undefined) {
    const process = pid === undefined ? '' : ` (pid ${pid})`;
    super('ETIMEDOUT', `the resolver of ${path}${process} does not answer`, {
      hint: 'its process is stopped or blocked: end it, which releases the overlay',
    });
    this.pid = pid;
  }
}

function silent(path: string, { peer }: UnixSocket): OvernsError {
  return new SilentResolver(path, peer?.pid);
}

function nonsense(path: string, socket: UnixSocket): OvernsError {
  return new OvernsError('EPROTO', `what answers as the resolver of ${path}${who(socket)} makes no sense`, {
    hint: 'it is no overns, or one of another version: end it, or use the same version',
  });
}

/** A connection to the resolver, or undefined when there is none. */
async function connect(system: System, path: string): Promise<UnixSocket | undefined> {
  let socket: UnixSocket;
  try {
    socket = await system.unixSockets.connect(path, NAME);
  } catch (error) {
    if (!isNativeFailure(error)) throw error;
    const failed = netlinkError(error, { what: 'reach the resolver', netns: path });
    if (failed.code === 'ECONNREFUSED') return undefined;
    throw failed;
  }
  const { peer } = socket;
  if (trusted(peer)) return socket;
  socket.destroy();
  const owner = peer === undefined ? 'an unknown process' : `pid ${peer.pid} of user ${peer.uid}`;
  throw new OvernsError('EACCES', `the name of the resolver of ${path} is held by ${owner}`, {
    hint: 'only root, and the user who asks, is believed: end that process',
  });
}

/** Calls `onLine` for each line, until one is longer than LINE_MAX: then `onOversize`, and the socket is closed. */
function lines(socket: UnixSocket, onLine: (line: string) => void, onOversize?: () => void): void {
  const decoder = new StringDecoder('utf8');
  let rest = '';
  socket.on('data', (chunk: Buffer) => {
    const parts = (rest + decoder.write(chunk)).split('\n');
    rest = parts.pop() as string;
    for (const part of parts) if (!socket.destroyed) onLine(part);
    if (rest.length <= LINE_MAX) return;
    rest = '';
    onOversize?.();
    socket.destroy();
  });
}
