/** Abstract unix stream sockets in a namespace: the kernel releases a name with whoever holds it. */
import { createServer, Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { native } from './native.js';
import { substitute } from './substitute.js';

/** What is used of Node's sockets. */
export interface UnixSocket extends Duplex {
  unref(): unknown;
  /** Ends it once what was written has left. */
  destroySoon(): void;
}

export interface UnixServer {
  /** Takes no more connections; fulfils when those there are have ended. */
  close(): Promise<void>;
  ref(): void;
  unref(): void;
}

/** Rejections are those of the addon: an errno and a syscall. */
export interface UnixSockets {
  /** EADDRINUSE when another holds the name. */
  listen(netns: string, name: string, onConnection: (socket: UnixSocket) => void): Promise<UnixServer>;
  /** ECONNREFUSED when nobody does. */
  connect(netns: string, name: string): Promise<UnixSocket>;
}

const machine: UnixSockets = {
  async listen(netns, name, onConnection) {
    const fd = await native().openUnixSocket(netns, name, 'listen');
    const server = createServer(onConnection);
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen({ fd }, () => resolve());
      native().adopted(fd);
    });
    return {
      ref: () => server.ref(),
      unref: () => server.unref(),
      close: () => new Promise((resolve) => server.close(() => resolve())),
    };
  },
  async connect(netns, name) {
    const fd = await native().openUnixSocket(netns, name, 'connect');
    const socket = new Socket({ fd, readable: true, writable: true });
    native().adopted(fd);
    return socket;
  },
};

export function unixSockets(): UnixSockets {
  return substitute()?.unixSockets ?? machine;
}
