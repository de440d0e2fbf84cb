/** A container of Podman's: `podman system service`, which podman.socket starts, answers Docker's API on a unix socket. */
import { invalidArgument, OvernsError } from '../../core/errors.js';
import { engineKind } from './engine.js';
import type { EngineConnection } from './engine-api.js';

/** Root's. */
const DEFAULT_SOCKET = '/run/podman/podman.sock';

/** Why an address that Podman's own command takes is none that can be used. */
const OTHER_SCHEMES: Readonly<Record<string, string>> = {
  ssh: ': ssh:// leads to another machine: run overns on that machine',
  tcp: ': Podman is asked on its unix socket alone, which tells that it runs on this machine',
};

export const podman = engineKind({
  title: 'Podman',
  command: 'podman',
  code: 'OVERNS_PODMAN',
  start: 'run `systemctl start podman.socket`',
  naming: "name Podman's socket with CONTAINER_HOST=unix:///PATH",
  access: 'run as root',
  connection,
});

/** CONTAINER_HOST as Podman reads it (pkg/bindings/connection.go), else root's socket. */
function connection(): EngineConnection {
  const { CONTAINER_HOST: host } = process.env;
  const socketPath = host ? socketOf(host) : DEFAULT_SOCKET;
  return { origin: 'http://podman', socketPath, shown: socketPath };
}

function socketOf(host: string): string {
  // unix://run/x is /run/x to Podman.
  const path = /^unix:\/\/\/*([^/].*)$/.exec(host)?.[1];
  if (path !== undefined) return `/${path}`;
  const why = OTHER_SCHEMES[/^([a-z]+):/i.exec(host)?.[1]?.toLowerCase() ?? ''] ?? '';
  const { message } = invalidArgument('CONTAINER_HOST', host, `a unix socket (unix:///PATH)${why}`);
  throw new OvernsError('OVERNS_PODMAN', message, {
    hint: `correct CONTAINER_HOST, or unset it for ${DEFAULT_SOCKET}`,
  });
}
