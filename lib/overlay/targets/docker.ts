/** A container of Docker's, or of another engine that answers Docker's API. */
import { readFile } from 'node:fs/promises';
import { isAbsolute } from 'node:path';
import { OvernsError } from '../../core/errors.js';
import { netnsIdentity, netnsPath } from '../../netns/references.js';
import type { System } from '../../system/system.js';
import { checkContainerName, Docker, type DockerContainer } from './docker-api.js';
import { type ContainerTarget, identify, type TargetKind, type TargetOptions } from './target.js';

export const docker: TargetKind = {
  scheme: 'docker',
  form: 'docker:NAME',
  fromText(text, argument) {
    const name = checkContainerName(text, argument);
    return async (options) => {
      const found = await findInDocker(name, options);
      if (typeof found !== 'string') return found;
      throw new OvernsError('ENOENT', `Docker at ${found} has no container "${name}"`, {
        hint: '`docker ps -a` shows those it has',
      });
    };
  },
};

/** Finds a container by its name or id; where Docker does not know it, tells in words where that Docker is. */
export async function findInDocker(name: string, options: TargetOptions): Promise<ContainerTarget | string> {
  options.system.checkDocker();
  await using engine = new Docker(options.docker);
  const container = await engine.inspect(name, options);
  // Awaited here: what it asks must be answered before the connection is closed.
  return container === null ? engine.shown : await fromEngine(engine, name, container, options);
}

async function fromEngine(
  engine: Docker,
  name: string,
  container: DockerContainer,
  options: TargetOptions,
): Promise<ContainerTarget> {
  const { system } = options;
  const description = `docker:${name}`;
  requireRunning(name, container);
  if (container.networkMode === 'host') throw hostNetwork(name);
  const path = await dockerNetns(system, name, container);
  const identity = await identify(system, path, description);
  if (identity === (await netnsIdentity(system, '/proc/self/ns/net'))) throw hostNetwork(name);
  // A pid can pass to another process. If Docker says the same after the namespace was read as before, it was the container's.
  const again = await engine.inspect(container.id, options);
  if (again === null || again.pid !== container.pid || again.startedAt !== container.startedAt) {
    throw new OvernsError('OVERNS_NOT_RUNNING', `container "${name}" stopped or restarted meanwhile`, {
      hint: 'try again once it runs',
    });
  }
  return { path, description, identity, id: container.id };
}

function requireRunning(name: string, { pid, status }: DockerContainer): void {
  if (pid > 0) return;
  throw new OvernsError(
    'OVERNS_NOT_RUNNING',
    `container "${name}" is not running${status === '' ? '' : ` (${status})`}`,
    {
      hint:
        status === 'restarting'
          ? `wait for it: \`docker logs ${name}\` may tell why it restarts`
          : `docker start ${name}`,
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

/** By the process first: Docker's own file is mounted in the daemon's mount namespace, which need not be ours. */
async function dockerNetns(system: System, name: string, container: DockerContainer): Promise<string> {
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
    hint: 'it has just stopped, or Docker runs in another pid namespace: run overns where Docker runs',
    cause: failure,
  });
}

/**
 * False if the process is seen to be another container's: then Docker counts pids in another pid namespace. Where
 * there are no cgroups to tell, it is taken for the container's.
 */
async function belongsTo({ pid, id }: DockerContainer): Promise<boolean> {
  const groups = await readFile(`/proc/${pid}/cgroup`, 'utf8').catch(() => '');
  return groups.includes(id) || !/[0-9a-f]{64}/.test(groups);
}
