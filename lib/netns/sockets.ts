/**
 * Sockets that live in a namespace, given to this process. No thread that outlives a call enters one: a short-lived one
 * makes the socket, which keeps its namespace from then on, and Node reads and writes it as any other.
 */
import { createSocket, type Socket as DgramSocket, type SocketOptions } from 'node:dgram';
import { createServer, type Server, type ServerOpts, Socket } from 'node:net';
import type { Cancel } from '../core/abort.js';
import { abortError, checkSignal, onAbort, throwIfAborted } from '../core/abort.js';
import { canonicalIp, ipFamily } from '../core/address.js';
import { invalidArgument, invalidType } from '../core/errors.js';
import { boolean, checkObject, checkOptions, integer, type Shape } from '../core/options.js';
import { kernel } from '../system/kernel-error.js';
import { checkSystem, machine, type OnSystem, type System } from '../system/system.js';
import { type NetnsRef, netnsPath, netnsReference } from './references.js';

/**
 * Where to, and how, a TCP connection is made.
 * @example
 * ```ts
 * import type { NetnsConnectOptions } from 'overns';
 *
 * const options: NetnsConnectOptions = { host: '192.168.0.3', port: 80, signal: AbortSignal.timeout(2000) };
 * console.log(options.port); // 80
 * ```
 */
export interface NetnsConnectOptions extends Cancel, OnSystem {
  /** An IP address: names are not resolved, since resolvers are a namespace's own. */
  readonly host: string;
  /** 1 to 65535. */
  readonly port: number;
  /** The source address. Default: the kernel's choice. */
  readonly localAddress?: string | undefined;
  /** The source port, 0 to 65535; 0 and the default: the kernel's choice. */
  readonly localPort?: number | undefined;
  /** As `net.Socket` has it. Default false. */
  readonly allowHalfOpen?: boolean | undefined;
  readonly noDelay?: boolean | undefined;
  readonly keepAlive?: boolean | undefined;
}

/**
 * The other end is a unix-domain socket on an abstract name (unix(7)), which belongs to a namespace.
 * @example
 * ```ts
 * import type { NetnsAbstractOptions } from 'overns';
 *
 * const options: NetnsAbstractOptions = { abstract: 'my-daemon' };
 * console.log(options.abstract); // my-daemon
 * ```
 */
export interface NetnsAbstractOptions extends Cancel, OnSystem {
  /** Without its leading NUL; 1 to 107 bytes. */
  readonly abstract: string;
  readonly allowHalfOpen?: boolean | undefined;
}

/**
 * Where a TCP server listens.
 * @example
 * ```ts
 * import type { NetnsListenOptions } from 'overns';
 *
 * const options: NetnsListenOptions = { host: '192.168.0.2', port: 0 };
 * console.log(options.port); // 0
 * ```
 */
export interface NetnsListenOptions extends Cancel, OnSystem {
  /** An IP address. Default `::`, which takes IPv4 too unless `ipv6Only`. */
  readonly host?: string | undefined;
  /** 0 to 65535; 0 and the default: the kernel's choice, see `server.address()`. */
  readonly port?: number | undefined;
  /** Connections that may wait to be accepted. Default 511. */
  readonly backlog?: number | undefined;
  readonly ipv6Only?: boolean | undefined;
  /** Several sockets may listen on one port (SO_REUSEPORT). */
  readonly reusePort?: boolean | undefined;
  readonly allowHalfOpen?: boolean | undefined;
  readonly pauseOnConnect?: boolean | undefined;
  readonly noDelay?: boolean | undefined;
  readonly keepAlive?: boolean | undefined;
}

/**
 * Where a UDP socket is bound.
 * @example
 * ```ts
 * import type { NetnsDgramOptions } from 'overns';
 *
 * const options: NetnsDgramOptions = { host: '192.168.0.2', port: 4789, reuseAddr: true };
 * console.log(options.port); // 4789
 * ```
 */
export interface NetnsDgramOptions extends Cancel, OnSystem {
  /** An IP address. Default: any of IPv4, `0.0.0.0`. */
  readonly host?: string | undefined;
  /** 0 to 65535; 0 and the default: the kernel's choice. */
  readonly port?: number | undefined;
  readonly ipv6Only?: boolean | undefined;
  readonly reuseAddr?: boolean | undefined;
  readonly reusePort?: boolean | undefined;
}

/**
 * A TCP connection, or one to an abstract unix-domain socket, that lives in a namespace: fulfils once it is connected.
 * @throws Node's own errors (`ECONNREFUSED`, `EHOSTUNREACH`, `ENETUNREACH`, `ETIMEDOUT`, ...); AbortError; OvernsError
 *   `ENOENT`, ... for the namespace; RangeError, TypeError that name the option
 * @example
 * ```ts
 * import { netns } from 'overns';
 *
 * const server = await netns.listen('web', { host: '127.0.0.1', port: 8080 }, (socket) => socket.end('hello'));
 * const socket = await netns.connect('web', { host: '127.0.0.1', port: 8080 });
 * for await (const chunk of socket) console.log(String(chunk)); // hello
 * server.close();
 * ```
 */
export async function connect(ref: NetnsRef, options: NetnsConnectOptions | NetnsAbstractOptions): Promise<Socket> {
  if ('abstract' in checkObject(options, 'options')) {
    const {
      abstract: name,
      allowHalfOpen = false,
      signal,
      system = machine,
    } = checkOptions(options, connectAbstractOptions);
    throwIfAborted(signal);
    const what = `connect to the abstract socket ${name}`;
    const fd = await inNetns(system, ref, what, (path) => system.native.openUnixSocket(path, name, 'connect'));
    const socket = adopt(system, fd, () => new Socket({ fd, allowHalfOpen, readable: true, writable: true }));
    return ifWanted(socket, signal);
  }
  const checked = checkOptions(options, connectOptions);
  const { host, port, localAddress, localPort, allowHalfOpen = false, noDelay = false, keepAlive = false } = checked;
  const { signal, system = machine } = checked;
  throwIfAborted(signal);
  const family = ipFamily(host);
  if (localAddress !== undefined && ipFamily(localAddress) !== family)
    throw invalidArgument('localAddress', localAddress, `of the family of host, IPv${family}`);
  const bare = { datagram: false, family, port: 0, ipv6Only: false, reuseAddress: false, reusePort: false };
  const fd = await inNetns(system, ref, `connect to ${host}`, (path) => system.native.openIpSocket(path, bare));
  // Read from once it is connected, which Node does by itself on the socket that it has.
  const init = { fd, allowHalfOpen, manualStart: true };
  const socket = adopt(system, fd, () => new Socket(init));
  if (signal?.aborted) socket.destroy();
  throwIfAborted(signal);
  const target = { host, port, family, noDelay, keepAlive };
  return settled(
    socket,
    'connect',
    signal,
    () =>
      void socket.connect({
        ...target,
        ...(localAddress === undefined ? {} : { localAddress }),
        ...(localPort === undefined ? {} : { localPort }),
      }),
  );
}

/**
 * A TCP server, or one on an abstract unix-domain name, that listens in a namespace; its connections live there too.
 * Fulfils once it listens.
 * @throws NetlinkError `EADDRINUSE`, `EADDRNOTAVAIL`, `EACCES`; OvernsError `ENOENT`, ... for the namespace; RangeError,
 *   TypeError that name the option; AbortError
 * @example
 * ```ts
 * import { netns } from 'overns';
 *
 * const server = await netns.listen('web', { host: '127.0.0.1' }, (socket) => socket.pipe(socket));
 * server.close();
 * ```
 */
export async function listen(
  ref: NetnsRef,
  options: NetnsListenOptions | NetnsAbstractOptions = {},
  onConnection?: (socket: Socket) => void,
): Promise<Server> {
  if (onConnection !== undefined && typeof onConnection !== 'function')
    throw invalidType('onConnection', onConnection, 'a function');
  let fd: number;
  let backlog = 511;
  let signal: AbortSignal | undefined;
  let system: System | undefined;
  let connections: ServerOpts;
  if ('abstract' in checkObject(options, 'options')) {
    const { abstract: name, ...checked } = checkOptions(options, listenAbstractOptions);
    ({ signal, system = machine, ...connections } = checked as ServerOpts & Cancel & OnSystem);
    throwIfAborted(signal);
    const { native } = system;
    fd = await inNetns(system, ref, `listen on the abstract socket ${name}`, (path) =>
      native.openUnixSocket(path, name, 'listen'),
    );
  } else {
    const checked = checkOptions(options, listenOptions);
    const { host: address = '::', port = 0, ipv6Only = false, reusePort = false } = checked;
    backlog = checked.backlog ?? backlog;
    ({ signal, system = machine, ...connections } = checked as ServerOpts & Cancel & OnSystem);
    throwIfAborted(signal);
    const { native } = system;
    const bound = {
      datagram: false,
      family: ipFamily(address),
      address,
      port,
      ipv6Only,
      reuseAddress: true,
      reusePort,
    };
    fd = await inNetns(system, ref, `listen on ${address} port ${port}`, (path) => native.openIpSocket(path, bound));
  }
  const server = createServer(connections, onConnection);
  return settled(server, 'listening', signal, () => {
    // `exclusive`: a cluster's worker listens itself.
    server.listen({ fd, backlog, exclusive: true });
    system.native.adopted(fd);
  });
}

/**
 * A UDP socket bound in a namespace. Fulfils once it is bound. `send` wants addresses, not names.
 * @throws NetlinkError `EADDRINUSE`, `EADDRNOTAVAIL`, `EACCES`; OvernsError `ENOENT`, ... for the namespace; RangeError,
 *   TypeError that name the option; AbortError
 * @example
 * ```ts
 * import { netns } from 'overns';
 *
 * const socket = await netns.dgram('web', { host: '127.0.0.1', port: 53 });
 * socket.on('message', (message, from) => socket.send(message, from.port, from.address));
 * socket.close();
 * ```
 */
export async function dgram(ref: NetnsRef, options: NetnsDgramOptions = {}): Promise<DgramSocket> {
  const checked = checkOptions(options, dgramOptions);
  const { host: address = '0.0.0.0', port = 0, ipv6Only = false, reuseAddr = false, reusePort = false } = checked;
  const { signal, system = machine } = checked;
  throwIfAborted(signal);
  const family = ipFamily(address);
  const bound = { datagram: true, family, address, port, ipv6Only, reuseAddress: reuseAddr, reusePort };
  const fd = await inNetns(system, ref, `bind ${address} port ${port}`, (path) =>
    system.native.openIpSocket(path, bound),
  );
  const init: SocketOptions = { type: family === 4 ? 'udp4' : 'udp6' };
  const socket = createSocket(init);
  return settled(socket, 'listening', signal, () => {
    socket.bind({ fd, exclusive: true });
    system.native.adopted(fd);
  });
}

async function inNetns(
  system: System,
  ref: NetnsRef,
  what: string,
  make: (path: string) => Promise<number>,
): Promise<number> {
  const path = await netnsPath(system, netnsReference(ref, 'netns'));
  return kernel({ what, netns: path }, make(path));
}

/** Makes Node's handle of a descriptor, which closes it from then on. */
function adopt<T>(system: System, fd: number, make: () => T): T {
  const made = make();
  system.native.adopted(fd);
  return made;
}

function ifWanted(socket: Socket, signal: AbortSignal | undefined): Socket {
  if (!signal?.aborted) return socket;
  socket.destroy();
  throw abortError(signal);
}

/** Waits for the event that says it works; what fails or is aborted before is closed. */
function settled<T extends Socket | Server | DgramSocket>(
  made: T,
  event: 'connect' | 'listening',
  signal: AbortSignal | undefined,
  start: () => void,
): Promise<T> {
  return new Promise((resolve, reject) => {
    const close = (): void => {
      if (made instanceof Socket) made.destroy();
      else (made as Server).close();
    };
    const failed = (error: Error): void => {
      leave();
      if (made instanceof Socket) made.destroy();
      reject(error);
    };
    const ignore = onAbort(signal, () => {
      leave();
      close();
      reject(abortError(signal as AbortSignal));
    });
    const leave = (): void => {
      ignore();
      made.off('error', failed);
      made.off(event, succeeded);
    };
    const succeeded = (): void => {
      leave();
      resolve(made);
    };
    made.once('error', failed);
    made.once(event, succeeded);
    start();
    if (signal?.aborted) {
      leave();
      close();
      reject(abortError(signal));
    }
  });
}

function checkAbstract(value: unknown, name: string): string {
  if (typeof value !== 'string') throw invalidType(name, value, 'a string');
  if (value === '' || Buffer.byteLength(value) > 107)
    throw invalidArgument(name, value, 'an abstract socket name of 1 to 107 bytes');
  return value;
}

const PORT_MAX = 65_535;

const connectOptions = {
  host: [canonicalIp],
  port: [integer(1, PORT_MAX)],
  localAddress: canonicalIp,
  localPort: integer(0, PORT_MAX),
  allowHalfOpen: boolean,
  noDelay: boolean,
  keepAlive: boolean,
  signal: checkSignal,
  system: checkSystem,
} satisfies Shape;

const connectAbstractOptions = {
  abstract: [checkAbstract],
  allowHalfOpen: boolean,
  signal: checkSignal,
  system: checkSystem,
} satisfies Shape;

/** Options of a server's connections, as Node's own server has them. */
const connectionOptions = {
  allowHalfOpen: boolean,
  pauseOnConnect: boolean,
  noDelay: boolean,
  keepAlive: boolean,
} satisfies Shape;

const listenOptions = {
  host: canonicalIp,
  port: integer(0, PORT_MAX),
  backlog: integer(1, PORT_MAX),
  ipv6Only: boolean,
  reusePort: boolean,
  ...connectionOptions,
  signal: checkSignal,
  system: checkSystem,
} satisfies Shape;

const listenAbstractOptions = {
  abstract: [checkAbstract],
  ...connectionOptions,
  signal: checkSignal,
  system: checkSystem,
} satisfies Shape;

const dgramOptions = {
  host: canonicalIp,
  port: integer(0, PORT_MAX),
  ipv6Only: boolean,
  reuseAddr: boolean,
  reusePort: boolean,
  signal: checkSignal,
  system: checkSystem,
} satisfies Shape;
