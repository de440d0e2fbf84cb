/** Finds who has the UDP port or the VNI that a new overlay asks for, when the kernel has refused it. */
import { readdir, readFile, readlink } from 'node:fs/promises';
import { join } from 'node:path';
import { OvernsError } from '../core/errors.js';
import { listNetns, netnsDirectory } from '../netns/references.js';
import { Rtnl } from '../rtnl/rtnl.js';
import type { Link } from '../rtnl/types.js';
import type { System } from '../system/system.js';

/** The port and VNI that were asked for. */
export interface Wanted {
  /** A socket in the host's namespace, and the path of that. */
  readonly host: Rtnl;
  readonly hostPath: string;
  readonly vni: number;
  readonly port: number;
  /** Path of the overlay that is being made. */
  readonly own: string;
}

/** A vxlan device whose UDP socket is in the host. */
interface Device {
  readonly link: Link;
  /** Name of the namespace it is in; undefined: the host itself. */
  readonly netns: string | undefined;
}

/**
 * Gives a refused vxlan device a hint that says who is in its way. Nothing it cannot find out is a failure of its own.
 */
export async function sayWhoHasIt(error: unknown, wanted: Wanted): Promise<unknown> {
  if (!OvernsError.is(error)) return error;
  const hint =
    error.code === 'EEXIST'
      ? await vniHolder(wanted).catch(() => undefined)
      : error.code === 'EADDRINUSE'
        ? await portHolder(wanted).catch(() => undefined)
        : undefined;
  return hint === undefined ? error : Object.assign(error, { hint });
}

async function vniHolder(wanted: Wanted): Promise<string> {
  const { vni, port } = wanted;
  const found = (await devicesOf(wanted)).find(({ link }) => link.vni === vni && link.port === port);
  const has = `VNI ${vni} on port ${port}`;
  if (found === undefined) return `the host has ${has} already: choose another, or delete the overlay that has it`;
  return `${wordsOf(found)} has ${has}: choose another \`vni\` or \`port\`, or delete it: ${deletion(found)}`;
}

async function portHolder(wanted: Wanted): Promise<string> {
  const { port } = wanted;
  const other = 'choose another port with `port`, the same on every host';
  const device = (await devicesOf(wanted)).find(({ link }) => link.port === port && link.up);
  if (device !== undefined) {
    const how = device.link.collectMetadata === true ? ' for all VNIs' : ' with other settings';
    return `${wordsOf(device)} has UDP port ${port}${how}: delete it (${deletion(device)}), or ${other}`;
  }
  const sockets = await socketsOn(wanted.host.system, wanted.hostPath, port);
  if (sockets.length === 0) return `UDP port ${port} of the host is taken: ${other}`;
  const processes = await holders(new Set(sockets.filter((inode) => inode !== '0')));
  if (processes.length > 0) return `${processes.join(' and ')} has UDP port ${port} of the host: stop it, or ${other}`;
  return `a socket of the kernel or of a hidden process has UDP port ${port} of the host (a tunnel such as Geneve, WireGuard or another vxlan): remove it, or ${other}`;
}

function wordsOf({ link, netns }: Device): string {
  if (netns === undefined) return `the vxlan device ${link.name} of the host`;
  return link.name === 'vxlan1' ? `the overlay "${netns}"` : `the vxlan device ${link.name} in netns ${netns}`;
}

function deletion({ link, netns }: Device): string {
  if (netns === undefined) return `\`ip link del ${link.name}\``;
  return link.name === 'vxlan1' ? `\`Overlay.delete('${netns}')\`` : `\`ip -n ${netns} link del ${link.name}\``;
}

/** The vxlan devices of the host, wherever they are now. */
async function devicesOf({ host, hostPath, own }: Wanted): Promise<Device[]> {
  const all: Device[] = (await host.links.list({ kind: 'vxlan' }))
    .filter(({ linkNetnsid }) => linkNetnsid === undefined)
    .map((link) => ({ link, netns: undefined }));
  for (const netns of await listNetns(host.system)) {
    const path = join(netnsDirectory(), netns);
    if (path === own) continue;
    try {
      await using rtnl = await Rtnl.open({ netns: { path }, system: host.system });
      const links = await rtnl.links.list({ kind: 'vxlan' });
      if (links.length === 0) continue;
      const id = await rtnl.nsid({ path: hostPath });
      for (const link of links) if (id >= 0 && link.linkNetnsid === id) all.push({ link, netns });
    } catch {
      // One that has gone, or is no namespace, has nothing.
    }
  }
  return all;
}

/** The inodes of the UDP sockets on a port; that of a socket of the kernel's own is 0. */
async function socketsOn({ native }: System, netns: string, port: number): Promise<string[]> {
  const tables = await Promise.all([
    native.readProcNet(netns, 'udp'),
    native.readProcNet(netns, 'udp6').catch(() => ''),
  ]);
  const wanted = port.toString(16).toUpperCase().padStart(4, '0');
  return tables.flatMap((table) =>
    table
      .split('\n')
      .slice(1)
      .map((line) => line.trim().split(/\s+/))
      .filter((columns) => columns[1]?.split(':')[1] === wanted)
      .map((columns) => columns[9] ?? '0'),
  );
}

/** The processes that have one of the sockets open, as `process 1234 (name)`. */
async function holders(inodes: ReadonlySet<string>): Promise<string[]> {
  if (inodes.size === 0) return [];
  const sockets = new Set([...inodes].map((inode) => `socket:[${inode}]`));
  const found: string[] = [];
  for (const pid of (await readdir('/proc')).filter((name) => /^\d+$/.test(name))) {
    const directory = `/proc/${pid}/fd`;
    for (const fd of await readdir(directory).catch(() => [])) {
      if (!sockets.has(await readlink(`${directory}/${fd}`).catch(() => ''))) continue;
      const name = await readFile(`/proc/${pid}/comm`, 'utf8').catch(() => '?');
      found.push(`process ${pid} (${name.replace(/[^\x21-\x7e]+/g, ' ').trim()})`);
      break;
    }
  }
  return found;
}
