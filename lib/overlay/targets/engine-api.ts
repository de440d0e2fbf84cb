/** The little of Docker's HTTP API that is needed to find a container's network namespace, whichever engine answers it. */
import type { PeerCertificate } from 'node:tls';
import type { Client } from 'undici';
import type { Cancel } from '../../core/abort.js';
import { throwIfAborted } from '../../core/abort.js';
import { invalidArgument, OvernsError } from '../../core/errors.js';
import { networkWords } from '../../core/network-error.js';
import { undici } from '../../system/undici.js';

/** A daemon that says nothing for so long is as good as away, milliseconds. */
const TIMEOUT_MS = 5_000;

/** An inspection is a few KiB; this many bytes are no inspection. */
const MAX_ANSWER = 4 * 1024 * 1024;

export interface EngineOptions extends Cancel {
  /**
   * Docker's: `unix:///PATH`, an absolute path, or `tcp://` to a loopback address. Default: `DOCKER_HOST`, else Docker's
   * current context, else its own socket.
   */
  readonly docker?: string | undefined;
}

/** Where an engine listens, and how it is spoken to there. */
export interface EngineConnection {
  readonly origin: string;
  readonly socketPath?: string;
  /** In words, for errors. */
  readonly shown: string;
  readonly tlsOptions?: EngineTls | undefined;
}

/** Options for `tls.connect`. */
export interface EngineTls {
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
  readonly rejectUnauthorized: boolean;
  readonly checkServerIdentity: (host: string, certificate: PeerCertificate) => Error | undefined;
}

/** An engine that answers Docker's API: where it listens, and its words in errors and hints. */
export interface Engine<Command extends string = string> {
  /** As people call it: `Docker`. */
  readonly title: string;
  /** Its command for terminals, which is also the scheme of its containers. */
  readonly command: Command;
  /** The code of errors in asking it. */
  readonly code: string;
  /** How it is started. */
  readonly start: string;
  /** How its socket is named, where it is another one. */
  readonly naming: string;
  /** Users that may ask it. */
  readonly access: string;
  /** @throws OvernsError of its code, for what the environment says */
  connection(options: EngineOptions): EngineConnection;
  /** Advice where nobody listens, if there is a better idea than starting it. */
  elsewhere?(connection: EngineConnection): string | undefined;
  /** For one that can be reached over TLS. */
  readonly tls?: {
    /** Advice where it wants TLS and was not asked so. */
    readonly wanted: string;
    explain(code: string, message: string): Reason | undefined;
  };
}

export type Reason = readonly [why: string, hint: string];

/** The part of `GET /containers/NAME/json` that matters here. */
export interface EngineContainer {
  readonly id: string;
  readonly name: string;
  /** As the engine says it: created, running, paused, restarting, removing, exited, dead. */
  readonly status: string;
  /** The container's first process as the daemon's pid namespace has it; 0 = none. */
  readonly pid: number;
  readonly startedAt: string;
  readonly networkMode: string;
  /** The namespace's file in the daemon's mount namespace; '' = none. */
  readonly sandboxKey: string;
}

/** Docker's rule for names and ids, which Podman has too; what passes is safe in a URL's path. */
export function isContainerName(name: string): boolean {
  return name.length <= 255 && /^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/.test(name);
}

/** @throws RangeError ERR_INVALID_ARG_VALUE */
export function checkContainerName(name: string, argument = 'container'): string {
  if (!isContainerName(name))
    throw invalidArgument(argument, name, "a container's name or id ([a-zA-Z0-9][a-zA-Z0-9_.-]*)");
  return name;
}

function unreachable(engine: Engine, connection: EngineConnection, cause: unknown): OvernsError {
  const { code = '' } = cause as NodeJS.ErrnoException;
  const [why, hint] = reason(engine, connection, code, networkWords(cause as Error));
  return new OvernsError(engine.code, `${engine.title} cannot be reached at ${connection.shown}: ${why}`, {
    hint,
    cause,
  });
}

function reason(engine: Engine, connection: EngineConnection, code: string, message: string): Reason {
  const remedy = `${engine.start}, or ${engine.naming}`;
  switch (code) {
    case 'ENOENT':
      return ['no such socket', engine.elsewhere?.(connection) ?? remedy];
    case 'ECONNREFUSED':
      return ['nobody listens there', engine.elsewhere?.(connection) ?? remedy];
    case 'EACCES':
    case 'EPERM':
      return ['permission denied', engine.access];
  }
  return (connection.tlsOptions && engine.tls?.explain(code, message)) ?? [message, remedy];
}

/** Words of the daemon about a request that it refused, in one line. */
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

/** A connection to an engine; close it after use. */
export class EngineClient implements AsyncDisposable {
  readonly #engine: Engine;
  readonly #connection: EngineConnection;
  #client: Promise<Client> | undefined;

  constructor(engine: Engine, options: EngineOptions = {}) {
    this.#engine = engine;
    this.#connection = engine.connection(options);
  }

  async #connect(): Promise<Client> {
    const { origin, socketPath, tlsOptions } = this.#connection;
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
    return this.#connection.shown;
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
      throw unreachable(this.#engine, this.#connection, error);
    }
  }

  /**
   * One container; null if the engine knows none of that name.
   * @throws OvernsError of the engine's code when it cannot be reached or refuses
   */
  async inspect(name: string, { signal }: Cancel = {}): Promise<EngineContainer | null> {
    checkContainerName(name);
    const { code, title, tls } = this.#engine;
    const { status, body } = await this.#get(`/containers/${name}/json`, signal);
    if (status === 404) return null;
    if (tls !== undefined && status === 400 && /HTTP request to an HTTPS server/i.test(body))
      throw new OvernsError(code, `${title} at ${this.shown} wants TLS`, { hint: tls.wanted });
    if (status !== 200) {
      throw new OvernsError(
        code,
        `${title} at ${this.shown} refuses to tell about "${name}": ${status} ${refusal(body)}`,
        { hint: "look at the daemon's log" },
      );
    }
    const container = parseInspection(body);
    if (container === null) throw this.#noEngine();
    return container;
  }

  /** The daemon's version. */
  async version({ signal }: Cancel = {}): Promise<string> {
    const { status, body } = await this.#get('/version', signal);
    try {
      const { Version: version } = JSON.parse(body) as { Version?: unknown };
      if (status === 200 && typeof version === 'string') return oneLine(version);
    } catch {}
    throw this.#noEngine();
  }

  #noEngine(): OvernsError {
    const { code, naming } = this.#engine;
    return new OvernsError(code, `what answers at ${this.shown} does not speak Docker's API`, { hint: naming });
  }

  async close(): Promise<void> {
    await (await this.#client?.catch(() => undefined))?.destroy();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

function parseInspection(body: string): EngineContainer | null {
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
