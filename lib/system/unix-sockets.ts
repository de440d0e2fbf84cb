/** Abstract unix stream sockets in a namespace: the kernel releases a name with whoever holds it. */
import { createServer, Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { Native } from './native.js';

/** The process at the other end. */
export interface Peer {
  readonly pid: number;
  readonly uid: number;
}

/** The part of Node's sockets that is used. */
export interface UnixSocket extends Duplex {
  /** Undefined where the kernel does not say. */
  readonly peer: Peer | undefined;
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

/** The machine's own, which the addon opens. */
export const machineUnixSockets = (native: () => Native): UnixSockets => ({
  async listen(netns, name, onConnection) {
    const fd = await native().openUnixSocket(netns, name, 'listen');
    const server = createServer((socket) => {
      const { _handle: handle } = socket as Socket & { readonly _handle?: { readonly fd?: number } };
      onConnection(Object.assign(socket, { peer: handle?.fd === undefined ? undefined : native().peerOf(handle.fd) }));
    });
    await new Promise<void>((resolve, reject) => {
      // It stays for good: that a later connection cannot be taken (no file descriptor is left) ends no process.
      server.on('error', reject);
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
    const peer = native().peerOf(fd);
    const socket = new Socket({ fd, readable: true, writable: true });
    native().adopted(fd);
    return Object.assign(socket, { peer });
  },
});
