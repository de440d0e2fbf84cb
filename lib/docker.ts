/** The little of Docker's HTTP API that is needed to find a container's network namespace. */
import { isIP } from 'node:net';
import { isAbsolute } from 'node:path';
import { Client } from 'undici';
import { throwIfAborted } from './abort.js';
import { invalidArgument, OvernsError } from './errors.js';
import type { Cancel } from './types.js';

const DEFAULT_HOST = 'unix:///var/run/docker.sock';

/** A daemon that says nothing for so long is as good as away, milliseconds. */
const TIMEOUT_MS = 5_000;

/** An inspection is a few KiB; this many bytes are no inspection. */
const MAX_ANSWER = 4 * 1024 * 1024;

export interface DockerOptions extends Cancel {
  /** `unix:///PATH`, an absolute path, or `tcp://` to a loopback address. Default: `DOCKER_HOST`, else Docker's own socket. */
  readonly docker?: string | undefined;
}

/** What matters here of `GET /containers/NAME/json`. */
export interface DockerContainer {
  readonly id: string;
  readonly name: string;
  /** As Docker says it: created, running, paused, restarting, removing, exited, dead. */
  readonly status: string;
  /** The container's first process as the daemon's pid namespace has it; 0 = none. */
  readonly pid: number;
  readonly startedAt: string;
  readonly networkMode: string;
  /** The namespace's file in the daemon's mount namespace; '' = none. */
  readonly sandboxKey: string;
}

interface DockerAddress {
  readonly origin: string;
  readonly socketPath?: string;
  /** In words, for errors. */
  readonly shown: string;
}

function isLoopback(host: string): boolean {
  const bare = host.replace(/^\[|\]$/g, '');
  return bare === 'localhost' || (isIP(bare) === 4 && bare.startsWith('127.')) || bare === '::1';
}

/**
 * Where Docker listens. A daemon of another machine is refused: its pids would mean other processes here.
 * @throws RangeError ERR_INVALID_ARG_VALUE for the argument, OvernsError `OVERNS_DOCKER` for `DOCKER_HOST`
 */
export function dockerAddress(docker?: string, argument = 'docker'): DockerAddress {
  const text = docker ?? (process.env.DOCKER_HOST || DEFAULT_HOST);
  if (isAbsolute(text)) return { origin: 'http://docker', socketPath: text, shown: text };
  const unix = /^unix:\/\/(\/.+)$/.exec(text)?.[1];
  if (unix !== undefined) return { origin: 'http://docker', socketPath: unix, shown: unix };
  // Not URL, which drops port 80 as the usual one of http.
  const [, name, port = '2375'] = /^(?:tcp|http):\/\/(\[[0-9a-f:]+\]|[a-z0-9.-]+)(?::(\d{1,5}))?\/?$/i.exec(text) ?? [];
  if (name !== undefined && isLoopback(name) && Number(port) >= 1 && Number(port) <= 65_535) {
    return { origin: `http://${name}:${port}`, shown: `tcp://${name}:${port}` };
  }
  const expected = "a unix socket (unix:///PATH) or this machine's own tcp://127.0.0.1:PORT";
  if (docker !== undefined) throw invalidArgument(argument, docker, expected);
  throw new OvernsError('OVERNS_DOCKER', invalidArgument('DOCKER_HOST', text, expected).message, {
    hint: 'Docker of another machine cannot be used: run overns on that machine',
  });
}

/** Docker's own rule for names and ids; what passes is safe in a URL's path. */
export function isContainerName(name: string): boolean {
  return name.length <= 255 && /^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/.test(name);
}

/** @throws RangeError ERR_INVALID_ARG_VALUE */
export function checkContainerName(name: string, argument = 'container'): string {
  if (!isContainerName(name))
    throw invalidArgument(argument, name, "a container's name or id ([a-zA-Z0-9][a-zA-Z0-9_.-]*)");
  return name;
}

function unreachable(address: DockerAddress, cause: unknown): OvernsError {
  const { code, message } = cause as NodeJS.ErrnoException;
  const why =
    code === 'ENOENT'
      ? 'no such socket'
      : code === 'ECONNREFUSED'
        ? 'nobody listens there'
        : code === 'EACCES' || code === 'EPERM'
          ? 'permission denied'
          : message.split('\n')[0];
  const hint =
    code === 'EACCES' || code === 'EPERM'
      ? 'run as root or as a member of the group "docker"'
      : 'start Docker, or name its socket with --docker or DOCKER_HOST';
  return new OvernsError('OVERNS_DOCKER', `Docker cannot be reached at ${address.shown}: ${why}`, { hint, cause });
}

/** What the daemon said of a request that it refused, in one line. */
function refusal(body: string): string {
  try {
    const { message } = JSON.parse(body) as { message?: unknown };
    if (typeof message === 'string' && message !== '') return oneLine(message);
  } catch {}
  return oneLine(body) || 'no reason given';
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: another program's words are printed to a terminal
const CONTROL = /[\u0000-\u001f\u007f-\u009f]+/g;

function oneLine(text: string): string {
  return text.replace(CONTROL, ' ').trim().slice(0, 200);
}

/** A connection to Docker's daemon; close it after use. */
export class Docker implements AsyncDisposable {
  readonly #address: DockerAddress;
  readonly #client: Client;

  constructor(docker?: string) {
    this.#address = dockerAddress(docker);
    this.#client = new Client(this.#address.origin, {
      ...(this.#address.socketPath === undefined ? {} : { socketPath: this.#address.socketPath }),
      connectTimeout: TIMEOUT_MS,
      headersTimeout: TIMEOUT_MS,
      bodyTimeout: TIMEOUT_MS,
      maxResponseSize: MAX_ANSWER,
    });
  }

  /** Where it is, in words. */
  get shown(): string {
    return this.#address.shown;
  }

  async #get(path: string, signal: AbortSignal | undefined): Promise<{ status: number; body: string }> {
    throwIfAborted(signal);
    try {
      const answer = await this.#client.request({ method: 'GET', path, ...(signal === undefined ? {} : { signal }) });
      return { status: answer.statusCode, body: await answer.body.text() };
    } catch (error) {
      throwIfAborted(signal);
      throw unreachable(this.#address, error);
    }
  }

  /**
   * One container; null if Docker knows none of that name.
   * @throws OvernsError `OVERNS_DOCKER` when Docker cannot be reached or refuses
   */
  async inspect(name: string, { signal }: Cancel = {}): Promise<DockerContainer | null> {
    checkContainerName(name);
    const { status, body } = await this.#get(`/containers/${name}/json`, signal);
    if (status === 404) return null;
    if (status !== 200) {
      throw new OvernsError(
        'OVERNS_DOCKER',
        `Docker at ${this.shown} refuses to tell about "${name}": ${status} ${refusal(body)}`,
        {
          hint: "look at the daemon's log",
        },
      );
    }
    const container = parseInspection(body);
    if (container === null) {
      throw new OvernsError('OVERNS_DOCKER', `what answers at ${this.shown} does not speak Docker's API`, {
        hint: "name Docker's socket with --docker or DOCKER_HOST",
      });
    }
    return container;
  }

  /** The daemon's version. */
  async version({ signal }: Cancel = {}): Promise<string> {
    const { status, body } = await this.#get('/version', signal);
    try {
      const { Version: version } = JSON.parse(body) as { Version?: unknown };
      if (status === 200 && typeof version === 'string') return oneLine(version);
    } catch {}
    throw new OvernsError('OVERNS_DOCKER', `what answers at ${this.shown} does not speak Docker's API`, {
      hint: "name Docker's socket with --docker or DOCKER_HOST",
    });
  }

  async close(): Promise<void> {
    await this.#client.destroy();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

function parseInspection(body: string): DockerContainer | null {
  const object = (value: unknown): Record<string, unknown> =>
    value !== null && typeof value === 'object' ? (value as Record<string, unknown>) : {};
  const text = (value: unknown): string => (typeof value === 'string' ? value : '');
  let root: Record<string, unknown>;
  try {
    root = object(JSON.parse(body));
  } catch {
    return null;
  }
  const state = object(root.State);
  const { Pid: pid } = state;
  if (text(root.Id) === '' || typeof pid !== 'number' || !Number.isInteger(pid) || pid < 0) return null;
  return {
    id: text(root.Id),
    name: text(root.Name).replace(/^\//, ''),
    status: text(state.Status),
    pid,
    startedAt: text(state.StartedAt),
    networkMode: text(object(root.HostConfig).NetworkMode),
    sandboxKey: text(object(root.NetworkSettings).SandboxKey),
  };
}
