/** Where Docker listens, and how it is spoken to there: DOCKER_HOST, contexts and TLS as Docker's own command has them. */
import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { isIP } from 'node:net';
import { homedir } from 'node:os';
import { isAbsolute, join } from 'node:path';
import { checkServerIdentity, type PeerCertificate } from 'node:tls';
import { invalidArgument, OvernsError } from '../../core/errors.js';
import type { EngineTls } from './engine-api.js';

const DEFAULT_SOCKET = '/var/run/docker.sock';
/** The same machine by other names: a certificate for one of them is as good. */
const LOOPBACKS = ['localhost', '127.0.0.1', '::1'];

export interface DockerAddress {
  readonly origin: string;
  readonly socketPath?: string;
  /** In words, for errors. */
  readonly shown: string;
  /** The address itself asks for TLS. */
  readonly tls: boolean;
}

export interface DockerConnection extends DockerAddress {
  readonly tlsOptions: EngineTls | undefined;
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || (isIP(host) === 4 && host.startsWith('127.')) || host === '::1';
}

/** Why an address of some scheme is none that can be used. */
const OTHER_SCHEMES: Readonly<Record<string, string>> = {
  ssh: 'ssh:// leads to another machine: run overns on that machine',
  npipe: "npipe:// is Windows': Linux has unix:///var/run/docker.sock",
  fd: 'fd:// is what the daemon is started with: name its socket, unix:///var/run/docker.sock as a rule',
};

const EXPECTED = "a unix socket (unix:///PATH) or this machine's own tcp://127.0.0.1:PORT";

/**
 * Takes an address apart. A daemon of another machine is refused: its pids would mean other processes here.
 * @throws RangeError ERR_INVALID_ARG_VALUE
 */
export function parseDockerAddress(text: string, argument = 'docker'): DockerAddress {
  const socketPath = isAbsolute(text) ? text : /^unix:\/\/(\/.+)$/.exec(text)?.[1];
  if (socketPath !== undefined) return { origin: 'http://docker', socketPath, shown: socketPath, tls: false };
  // Not URL, which drops port 80 as the usual one of http.
  const [, scheme = '', name, port] =
    /^(tcp|https?):\/\/(\[[0-9a-f:]+\]|[a-z0-9.-]+)(?::(\d{1,5}))?\/?$/i.exec(text) ?? [];
  const tls = scheme.toLowerCase() === 'https';
  const number = Number(port ?? (tls ? 2376 : 2375));
  if (name !== undefined && number >= 1 && number <= 65_535) {
    if (isLoopback(name.replace(/^\[|\]$/g, ''))) {
      return { origin: `${tls ? 'https' : 'http'}://${name}:${number}`, shown: `tcp://${name}:${number}`, tls };
    }
    throw invalidArgument(argument, text, `${EXPECTED}: run overns on the machine of that Docker`);
  }
  const why = OTHER_SCHEMES[/^([a-z]+):/i.exec(text)?.[1]?.toLowerCase() ?? ''];
  throw invalidArgument(argument, text, why === undefined ? EXPECTED : `${EXPECTED}: ${why}`);
}

/**
 * Where Docker listens: the argument, else DOCKER_HOST, else the current context of Docker's command, else its own socket.
 * @throws RangeError ERR_INVALID_ARG_VALUE for the argument, OvernsError `OVERNS_DOCKER` for what the environment says
 */
export function dockerConnection(docker?: string, argument = 'docker'): DockerConnection {
  const { env } = process;
  if (docker !== undefined) return withEnvironmentTls(parseDockerAddress(docker, argument));
  if (env.DOCKER_HOST) return withEnvironmentTls(fromOutside(env.DOCKER_HOST, 'DOCKER_HOST'));
  const context = currentContext();
  return context ?? withEnvironmentTls(parseDockerAddress(DEFAULT_SOCKET));
}

function fromOutside(text: string, name: string): DockerAddress {
  try {
    return parseDockerAddress(text, name);
  } catch (error) {
    throw new OvernsError('OVERNS_DOCKER', (error as Error).message, {
      hint: `correct ${name}, or name Docker's socket with \`docker\``,
    });
  }
}

/** As Docker's command does: a value of any kind switches it on, and a certificate is asked for where there is one. */
function withEnvironmentTls(address: DockerAddress): DockerConnection {
  const { DOCKER_TLS_VERIFY: verify, DOCKER_TLS: unverified, DOCKER_CERT_PATH: path } = process.env;
  if (address.socketPath !== undefined || !(address.tls || verify || unverified)) {
    return { ...address, tlsOptions: undefined };
  }
  const directory = path || configDirectory();
  const certain = path !== undefined && path !== '';
  return secured(address, directory, 'DOCKER_CERT_PATH', verify !== undefined && verify !== '', certain);
}

/** @param certain there must be files: somebody has said that they are there */
function secured(
  address: DockerAddress,
  directory: string,
  source: string,
  verify: boolean,
  certain: boolean,
): DockerConnection {
  const read = (name: string, needed: boolean): string | undefined => {
    const path = join(directory, name);
    if (!needed && !existsSync(path)) return undefined;
    try {
      return readFileSync(path, 'utf8');
    } catch (cause) {
      throw new OvernsError('OVERNS_DOCKER', `${source}: ${(cause as Error).message}`, {
        hint: `${source} is a directory with ca.pem, cert.pem and key.pem, as Docker's documentation on TLS has them`,
        cause,
      });
    }
  };
  const ca = read('ca.pem', certain && verify);
  const cert = read('cert.pem', false);
  const key = read('key.pem', cert !== undefined);
  const port = address.origin.split(':').at(-1);
  const host = address.shown.slice('tcp://'.length, -`:${port}`.length);
  return {
    ...address,
    origin: `https://${host}:${port}`,
    tls: true,
    tlsOptions: {
      ...(ca !== undefined && { ca }),
      ...(cert !== undefined && { cert, key: key as string }),
      rejectUnauthorized: verify,
      checkServerIdentity: ownIdentity,
    },
  };
}

function ownIdentity(host: string, certificate: PeerCertificate): Error | undefined {
  const refused = checkServerIdentity(host, certificate);
  if (refused === undefined) return undefined;
  return LOOPBACKS.some((name) => checkServerIdentity(name, certificate) === undefined) ? undefined : refused;
}

function configDirectory(): string {
  return process.env.DOCKER_CONFIG || join(homedir(), '.docker');
}

/** The context that Docker's command would use; undefined for its default. */
function currentContext(): DockerConnection | undefined {
  const directory = configDirectory();
  const named = process.env.DOCKER_CONTEXT;
  const source = named ? 'DOCKER_CONTEXT' : join(directory, 'config.json');
  const name = named || field(readJson(join(directory, 'config.json'), false), 'currentContext');
  if (typeof name !== 'string' || name === '' || name === 'default') return undefined;
  const id = createHash('sha256').update(name).digest('hex');
  const what = `Docker's context ${JSON.stringify(name.slice(0, 80))} (${source})`;
  const meta = join(directory, 'contexts', 'meta', id, 'meta.json');
  const endpoint = field(field(readJson(meta, true, what), 'Endpoints'), 'docker');
  const host = field(endpoint, 'Host');
  if (typeof host !== 'string' || host === '') {
    throw new OvernsError('OVERNS_DOCKER', `${what} names no daemon in ${meta}`, { hint: 'docker context ls' });
  }
  const address = fromOutside(host, what);
  const files = join(directory, 'contexts', 'tls', id, 'docker');
  if (address.socketPath !== undefined || !(address.tls || existsSync(files)))
    return { ...address, tlsOptions: undefined };
  return secured(address, files, what, field(endpoint, 'SkipTLSVerify') !== true, false);
}

function field(value: unknown, name: string): unknown {
  return value !== null && typeof value === 'object' ? (value as Record<string, unknown>)[name] : undefined;
}

/** Reads what another program wrote. A part that is needed and cannot be read is an error; the rest is as good as not there. */
function readJson(path: string, needed: boolean, what = path): unknown {
  try {
    return JSON.parse(readFileSync(path, 'utf8'));
  } catch (cause) {
    if (!needed) return undefined;
    throw new OvernsError('OVERNS_DOCKER', `${what} cannot be read: ${(cause as Error).message}`, {
      hint: '`docker context ls` shows those there are; DOCKER_HOST goes before them',
      cause,
    });
  }
}

/** Where else a daemon that speaks Docker's API listens on this machine, for those who ask the usual place in vain. */
export function otherSockets(): readonly string[] {
  const { XDG_RUNTIME_DIR: own } = process.env;
  const candidates = [
    ...(own ? [join(own, 'docker.sock'), join(own, 'podman', 'podman.sock')] : []),
    '/run/podman/podman.sock',
  ];
  return candidates.filter((path) => existsSync(path));
}
