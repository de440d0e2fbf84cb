/** The little of Docker's HTTP API that is needed to find a container's network namespace. */
import type { Client } from 'undici';
import type { Cancel } from '../../core/abort.js';
import { throwIfAborted } from '../../core/abort.js';
import { invalidArgument, OvernsError } from '../../core/errors.js';
import { networkWords } from '../../core/network-error.js';
import { undici } from '../../system/undici.js';
import { type DockerConnection, dockerConnection, otherSockets } from './docker-address.js';

/** A daemon that says nothing for so long is as good as away, milliseconds. */
const TIMEOUT_MS = 5_000;

/** An inspection is a few KiB; this many bytes are no inspection. */
const MAX_ANSWER = 4 * 1024 * 1024;

export interface DockerOptions extends Cancel {
  /**
   * `unix:///PATH`, an absolute path, or `tcp://` to a loopback address. Default: `DOCKER_HOST`, else Docker's current
   * context, else its own socket.
   */
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

function unreachable(address: DockerConnection, cause: unknown): OvernsError {
  const { code = '' } = cause as NodeJS.ErrnoException;
  const [why, hint] = reason(address, code, networkWords(cause as Error));
  return new OvernsError('OVERNS_DOCKER', `Docker cannot be reached at ${address.shown}: ${why}`, { hint, cause });
}

function reason(address: DockerConnection, code: string, message: string): readonly [why: string, hint: string] {
  const [other] = otherSockets().filter((path) => path !== address.socketPath);
  const elsewhere = other === undefined ? NAME_IT : `another daemon listens at ${other}: DOCKER_HOST=unix://${other}`;
  switch (code) {
    case 'ENOENT':
      return ['no such socket', elsewhere];
    case 'ECONNREFUSED':
      return ['nobody listens there', elsewhere];
    case 'EACCES':
    case 'EPERM':
      return ['permission denied', 'run as root or as a member of the group "docker"'];
  }
  if (address.tlsOptions === undefined) return [message, NAME_IT];
  // What TLS has to say: OpenSSL's codes, Node's of certificates, alerts of the server.
  if (/^(ERR_TLS|CERT_|UNABLE_|DEPTH_ZERO|SELF_SIGNED)/.test(code))
    return [
      `its certificate is not trusted: ${message}`,
      'DOCKER_CERT_PATH names a directory with the ca.pem that signed it',
    ];
  if (/WRONG_VERSION|wrong version/i.test(`${code} ${message}`))
    return ['it does not speak TLS', 'unset DOCKER_TLS_VERIFY and DOCKER_TLS'];
  if (/alert|EPIPE|ECONNRESET|UND_ERR_SOCKET/i.test(`${code} ${message}`))
    return [
      `it ended the TLS connection: ${message}`,
      'it may want a certificate: DOCKER_CERT_PATH names a directory with cert.pem and key.pem',
    ];
  return [message, NAME_IT];
}

const NAME_IT = 'start Docker, or name its socket with `docker` or DOCKER_HOST';

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
  readonly #address: DockerConnection;
  #client: Promise<Client> | undefined;

  constructor(docker?: string) {
    this.#address = dockerConnection(docker);
  }

  async #connect(): Promise<Client> {
    const { origin, socketPath, tlsOptions } = this.#address;
    const { Client } = await undici();
    return new Client(origin, {
      connect: { timeout: TIMEOUT_MS, ...(socketPath !== undefined && { socketPath }), ...tlsOptions },
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
      this.#client ??= this.#connect();
      const client = await this.#client;
      const answer = await client.request({ method: 'GET', path, ...(signal === undefined ? {} : { signal }) });
      return { status: answer.statusCode, body: await answer.body.text() };
    } catch (error) {
      throwIfAborted(signal);
      if (OvernsError.is(error)) throw error;
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
    if (status === 400 && /HTTP request to an HTTPS server/i.test(body)) {
      throw new OvernsError('OVERNS_DOCKER', `Docker at ${this.shown} wants TLS`, {
        hint: 'set DOCKER_TLS_VERIFY=1, and DOCKER_CERT_PATH to the directory of its certificates',
      });
    }
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
        hint: "name Docker's socket with `docker` or DOCKER_HOST",
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
      hint: "name Docker's socket with `docker` or DOCKER_HOST",
    });
  }

  async close(): Promise<void> {
    await (await this.#client?.catch(() => undefined))?.destroy();
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
