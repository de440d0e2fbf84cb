/** Containers of an engine that answers Docker's API. */
import { readFile } from 'node:fs/promises';
import { isAbsolute } from 'node:path';
import { OvernsError } from '../../core/errors.js';
import { netnsIdentity, netnsPath } from '../../netns/references.js';
import type { System } from '../../system/system.js';
import { checkContainerName, type Engine, EngineClient, type EngineContainer } from './engine-api.js';
import { type ContainerTarget, identify, type TargetKind, type TargetOptions } from './target.js';

/** The kind of target that an engine's containers are. */
export function engineKind<Command extends string>(engine: Engine<Command>): TargetKind<Command> {
  const { command, title } = engine;
  return {
    scheme: command,
    form: `${command}:NAME`,
    fromText(text, argument) {
      const name = checkContainerName(text, argument);
      return async (options) => {
        const found = await findInEngine(engine, name, options);
        if (typeof found !== 'string') return found;
        throw new OvernsError('ENOENT', `${title} at ${found} has no container "${name}"`, {
          hint: `\`${command} ps -a\` shows those it has`,
        });
      };
    },
  };
}

/** Finds a container by its name or id; where the engine does not know it, tells in words where that engine is. */
export async function findInEngine(
  engine: Engine,
  name: string,
  options: TargetOptions,
): Promise<ContainerTarget | string> {
  options.system.checkEngine(engine);
  await using client = new EngineClient(engine, options);
  const container = await client.inspect(name, options);
  // Awaited here: what it asks must be answered before the connection is closed.
  return container === null ? client.shown : await fromEngine(engine, client, name, container, options);
}

async function fromEngine(
  engine: Engine,
  client: EngineClient,
  name: string,
  container: EngineContainer,
  options: TargetOptions,
): Promise<ContainerTarget> {
  const { system } = options;
  const description = `${engine.command}:${name}`;
  requireRunning(engine, name, container);
  if (container.networkMode === 'host') throw hostNetwork(name);
  const path = await containerNetns(system, engine, name, container);
  const identity = await identify(system, path, description);
  if (identity === (await netnsIdentity(system, '/proc/self/ns/net'))) throw hostNetwork(name);
  // A pid can pass to another process. If the engine says the same after the namespace was read as before, it was the container's.
  const again = await client.inspect(container.id, options);
  if (again === null || again.pid !== container.pid || again.startedAt !== container.startedAt) {
    throw new OvernsError('OVERNS_NOT_RUNNING', `container "${name}" stopped or restarted meanwhile`, {
      hint: 'try again once it runs',
    });
  }
  return { path, description, identity, id: container.id };
}

function requireRunning({ command }: Engine, name: string, { pid, status }: EngineContainer): void {
  if (pid > 0) return;
  throw new OvernsError(
    'OVERNS_NOT_RUNNING',
    `container "${name}" is not running${status === '' ? '' : ` (${status})`}`,
    {
      hint:
        status === 'restarting'
          ? `wait for it: \`${command} logs ${name}\` may tell why it restarts`
          : `${command} start ${name}`,
    },
  );
}

function hostNetwork(name: string): OvernsError {
  return new OvernsError(
    'OVERNS_HOST_NETWORK',
    `container "${name}" uses its host's network and has no namespace of its own to attach`,
    {
      hint: 'run it with --net=none or with a network of its own',
    },
  );
}

/** By the process first: the engine's own file is mounted in the daemon's mount namespace, which need not be ours. */
async function containerNetns(
  system: System,
  { title }: Engine,
  name: string,
  container: EngineContainer,
): Promise<string> {
  let failure: unknown;
  try {
    const path = await netnsPath(system, { pid: container.pid });
    if (await belongsTo(container)) return path;
  } catch (error) {
    if (!OvernsError.is(error)) throw error;
    failure = error;
  }
  if (isAbsolute(container.sandboxKey)) {
    try {
      return await netnsPath(system, container.sandboxKey);
    } catch {}
  }
  if (OvernsError.is(failure) && failure.code === 'EACCES') {
    throw new OvernsError('EACCES', `container "${name}": ${failure.message}`, {
      hint: 'run as root with CAP_SYS_PTRACE',
      cause: failure,
    });
  }
  throw new OvernsError('ESRCH', `container "${name}" runs as process ${container.pid}, which is not to be seen here`, {
    hint: `it has just stopped, or ${title} runs in another pid namespace: run overns where ${title} runs`,
    cause: failure,
  });
}

/**
 * False if the process is seen to be another container's: then the engine counts pids in another pid namespace. Where
 * there are no cgroups to tell, it is taken for the container's.
 */
async function belongsTo({ pid, id }: EngineContainer): Promise<boolean> {
  const groups = await readFile(`/proc/${pid}/cgroup`, 'utf8').catch(() => '');
  return groups.includes(id) || !/[0-9a-f]{64}/.test(groups);
}
