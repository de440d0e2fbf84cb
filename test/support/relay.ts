/** A relay in front of a server on the loopback, which lets through, delays, falls silent, refuses or answers 500. */
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { onCleanup } from './cleanup.js';

export class Relay {
  /** Where it listens: `127.0.0.1:PORT`. */
  readonly at: string;
  /**
   * `pass`: as if it was not there. `hang`: takes connections and bytes, and passes nothing on, nor does it ever on a connection that
   * has lost some. `refuse`: ends each connection. `500`: answers each request so.
   */
  mode: 'pass' | 'hang' | 'refuse' | '500' = 'pass';
  /** How long what the server says is held back, milliseconds. */
  delayMs = 0;
  /** Called with all that clients say. */
  heard: (bytes: Buffer) => void = () => {};
  /** Connections that were made since the start. */
  connections = 0;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  readonly #held = new Set<Promise<void>>();

  private constructor(server: Server) {
    this.#server = server;
    this.at = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  }

  static async start(port: number): Promise<Relay> {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const relay = new Relay(server);
    server.on('connection', (socket) => relay.#connected(socket, port));
    onCleanup(() => relay.close());
    return relay;
  }

  #connected(client: Socket, port: number): void {
    this.connections++;
    this.#keep(client);
    if (this.mode === 'refuse') {
      client.destroy();
      return;
    }
    let upstream: Socket | undefined;
    // What is held back stays in order, whatever the delay is by then.
    let held = Promise.resolve();
    let halfOpen = false;
    const passes = (): boolean => {
      halfOpen ||= this.mode === 'hang';
      return !halfOpen;
    };
    const open = (): Socket => {
      const socket = connect(port, '127.0.0.1');
      this.#keep(socket);
      socket.on('data', (bytes) => {
        const due = sleep(this.delayMs);
        if (!passes()) return;
        held = Promise.all([held, due]).then(() => void client.write(bytes));
        this.#held.add(held);
      });
      socket.on('close', () => client.destroy());
      client.on('close', () => socket.destroy());
      return socket;
    };
    client.on('data', (bytes: Buffer) => {
      this.heard(bytes);
      if (this.mode === '500')
        client.end('HTTP/1.1 500 Out of order\r\nContent-Length: 7\r\nConnection: close\r\n\r\nnot now');
      else if (passes()) {
        upstream ??= open();
        upstream.write(bytes);
      }
    });
  }

  #keep(socket: Socket): void {
    this.#sockets.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => this.#sockets.delete(socket));
  }

  /** Fulfils when what is held back by now has been said. */
  async drained(): Promise<void> {
    await Promise.all(this.#held);
    this.#held.clear();
  }

  /** Ends all connections; what comes is treated as `mode` says. */
  cut(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  close(): void {
    this.cut();
    this.#server.close();
  }
}
