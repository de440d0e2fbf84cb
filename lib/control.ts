/**
 * The resolver of an overlay, as other processes find it: an abstract unix socket in the overlay's namespace. Holding
 * the name is the lock that makes it the only one; the kernel releases it with its holder. Behind it, JSON lines.
 */
import { createInterface } from 'node:readline';
import { OvernsError } from './errors.js';
import { isNativeFailure, kernel, netlinkError } from './kernel-error.js';
import { type UnixServer, type UnixSocket, unixSockets } from './unix-socket.js';

const NAME = 'overns';
const ANSWER_TIMEOUT_MS = 5000;
/** How long a peer may take to read what it was told, once the socket is to be closed. */
const CLOSE_MS = 1000;
/** Longest line that either side reads, bytes. */
const LINE_MAX = 1 << 20;

/** What may be asked of a resolver. */
export type ControlRequest = { readonly op: 'stats' | 'release' | 'deleted' | 'misses' };
export type ControlAnswer = { readonly ok: boolean; readonly error?: string; readonly [key: string]: unknown };

/** Who asked: for requests that are answered with a stream of lines. */
export interface ControlPeer {
  send(line: object): void;
  onClose(listener: () => void): void;
}

export type ControlServer = UnixServer;

/**
 * Becomes the resolver of the overlay in the namespace at `path`.
 * @throws NetlinkError `EADDRINUSE` when another holds it
 */
export async function serveControl(
  path: string,
  answer: (request: ControlRequest, peer: ControlPeer) => Promise<ControlAnswer> | ControlAnswer,
): Promise<ControlServer> {
  const sockets = new Set<UnixSocket>();
  const onConnection = (socket: UnixSocket): void => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    socket.on('error', () => socket.destroy());
    const peer: ControlPeer = {
      send: (line) => {
        // A peer that does not read is cut off: it must not make this process hold what it misses.
        if (socket.writableLength > LINE_MAX) socket.destroy();
        else if (!socket.destroyed) socket.write(`${JSON.stringify(line)}\n`);
      },
      onClose: (listener) => void socket.once('close', listener),
    };
    const reader = lines(socket, (line) => {
      let request: ControlRequest;
      try {
        request = JSON.parse(line) as ControlRequest;
      } catch {
        socket.end(`${JSON.stringify({ ok: false, error: 'not JSON' })}\n`);
        return;
      }
      Promise.resolve()
        .then(() => answer(request, peer))
        .catch((error: Error) => ({ ok: false, error: error.message }))
        .then((said) => {
          if (!socket.destroyed) socket.write(`${JSON.stringify(said)}\n`);
        });
    });
    socket.on('close', () => reader.close());
  };
  const server = await kernel(
    { what: 'claim the overlay', netns: path },
    unixSockets().listen(path, NAME, onConnection),
  );
  return {
    ref: () => server.ref(),
    unref: () => server.unref(),
    close: async () => {
      const closed = server.close();
      for (const socket of sockets) socket.destroySoon();
      // One that is stopped reads nothing, for ever.
      const late = setTimeout(() => {
        for (const socket of sockets) socket.destroy();
      }, CLOSE_MS);
      await closed;
      clearTimeout(late);
    },
  };
}

/**
 * Asks the resolver that serves the overlay in the namespace at `path`.
 * @returns undefined when there is none
 */
export async function askControl(path: string, request: ControlRequest): Promise<ControlAnswer | undefined> {
  const socket = await connect(path);
  if (!socket) return undefined;
  try {
    return await new Promise<ControlAnswer | undefined>((resolve, reject) => {
      const timer = setTimeout(() => {
        reject(
          new OvernsError('ETIMEDOUT', `the resolver of ${path} does not answer`, {
            hint: 'its process is stopped or blocked: end it, which releases the overlay',
          }),
        );
      }, ANSWER_TIMEOUT_MS);
      lines(socket, (line) => {
        clearTimeout(timer);
        try {
          resolve(JSON.parse(line) as ControlAnswer);
        } catch (cause) {
          reject(new OvernsError('EPROTO', `the resolver of ${path} answers nonsense`, { cause }));
        }
      });
      socket.on('error', () => {});
      socket.on('close', () => {
        clearTimeout(timer);
        resolve(undefined); // it has ended meanwhile
      });
      socket.write(`${JSON.stringify(request)}\n`);
    });
  } finally {
    socket.destroy();
  }
}

/**
 * Follows what the resolver of an overlay tells: `onLine` for each line behind its first answer, `onEnd` once, when it
 * ends or there is none. Returns what stops it.
 */
export function followControl(
  path: string,
  request: ControlRequest,
  onLine: (line: unknown) => void,
  onEnd: () => void,
): () => void {
  let socket: UnixSocket | undefined;
  let stopped = false;
  const end = (): void => {
    if (stopped) return;
    stopped = true;
    socket?.destroy();
    onEnd();
  };
  connect(path).then((connected) => {
    socket = connected;
    if (!connected || stopped) {
      connected?.destroy();
      end();
      return;
    }
    connected.unref(); // what it belongs to keeps the process alive, or does not
    connected.on('error', () => {});
    connected.on('close', end);
    let first = true;
    lines(connected, (line) => {
      if (!first) onLine(JSON.parse(line));
      first = false;
    });
    connected.write(`${JSON.stringify(request)}\n`);
  }, end);
  return () => {
    stopped = true;
    socket?.destroy();
  };
}

/** A connection to the resolver, or undefined when there is none. */
async function connect(path: string): Promise<UnixSocket | undefined> {
  try {
    return await unixSockets().connect(path, NAME);
  } catch (error) {
    if (!isNativeFailure(error)) throw error;
    const failed = netlinkError(error, { what: 'reach the resolver', netns: path });
    if (failed.code === 'ECONNREFUSED') return undefined;
    throw failed;
  }
}

function lines(socket: UnixSocket, onLine: (line: string) => void): { close(): void } {
  let bytes = 0;
  socket.on('data', (chunk) => {
    bytes += chunk.length;
    if (bytes > LINE_MAX) socket.destroy();
  });
  const reader = createInterface({ input: socket, crlfDelay: Number.POSITIVE_INFINITY });
  reader.on('line', (line) => {
    bytes = 0;
    onLine(line);
  });
  reader.on('error', () => {});
  return reader;
}
