/** Abstract unix sockets without a kernel: pairs of streams. */
import { Duplex } from 'node:stream';
import type { UnixServer, UnixSockets } from '../system/unix-sockets.js';
import { soon } from './clock.js';
import type { Machine } from './machine.js';
import type { FakeNetns } from './netns.js';
import { Refusal } from './refusal.js';

/** One end. As a socket of Node's: what it has read to the end it closes. */
class End extends Duplex {
  /** There is one process. */
  readonly peer = { pid: process.pid, uid: 0 };
  other: End | undefined;
  #taken: (() => void) | undefined;

  constructor() {
    super({ allowHalfOpen: false });
  }

  unref(): this {
    return this;
  }

  destroySoon(): void {
    if (this.writable) this.end();
    if (this.writableFinished) this.destroy();
    else this.once('finish', () => this.destroy());
  }

  override _read(): void {
    const taken = this.#taken;
    this.#taken = undefined;
    taken?.();
  }

  receive(chunk: Buffer, done: () => void): void {
    if (this.destroyed || this.push(chunk)) done();
    else this.#taken = done;
  }

  override _write(chunk: Buffer, _encoding: string, done: (error?: Error) => void): void {
    soon(() => {
      if (this.other === undefined || this.other.destroyed)
        done(Object.assign(new Error('write EPIPE'), { code: 'EPIPE' }));
      else this.other.receive(chunk, done);
    });
  }

  override _final(done: () => void): void {
    soon(() => {
      if (this.other?.destroyed === false) this.other.push(null);
      done();
    });
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this._read(); // whoever waits for room writes into the void
    const other = this.other;
    soon(() => {
      if (other?.destroyed === false && !other.readableEnded) other.push(null);
      done(error);
    });
  }
}

interface Listener {
  readonly netns: FakeNetns;
  readonly name: string;
  readonly onConnection: (socket: End) => void;
  readonly open: Set<End>;
}

export function fakeUnixSockets(machine: Machine): UnixSockets {
  const listeners = new Set<Listener>();
  const find = (netns: FakeNetns, name: string): Listener | undefined => {
    return [...listeners].find((each) => each.netns === netns && each.name === name);
  };
  return {
    async listen(path, name, onConnection): Promise<UnixServer> {
      await machine.turn();
      const netns = machine.find(path);
      machine.request('bind', netns, { name });
      if (find(netns, name) !== undefined) throw new Refusal('EADDRINUSE', 'bind', { on: name });
      const listener: Listener = { netns, name, onConnection, open: new Set() };
      listeners.add(listener);
      machine.hold(netns);
      return {
        ref: () => {},
        unref: () => {},
        close: async () => {
          if (listeners.delete(listener)) machine.release(netns);
          await Promise.all([...listener.open].map((end) => new Promise((resolve) => end.once('close', resolve))));
        },
      };
    },
    async connect(path, name) {
      await machine.turn();
      const netns = machine.find(path);
      machine.request('connect', netns, { name });
      const listener = find(netns, name);
      if (listener === undefined) throw new Refusal('ECONNREFUSED', 'connect', { on: name });
      const [client, server] = [new End(), new End()];
      client.other = server;
      server.other = client;
      listener.open.add(server);
      server.once('close', () => listener.open.delete(server));
      machine.later(() => listener.onConnection(server));
      return client;
    },
  };
}
