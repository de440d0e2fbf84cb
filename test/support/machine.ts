/** Things that can be left behind on a machine: links, addresses and routes of namespaces, and this process's descriptors. */
import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { exec, type Netns } from './netns.js';

// biome-ignore lint/suspicious/noExplicitAny: iproute2's JSON has no types
type Json = any;

async function json(netns: Netns, command: string): Promise<Json[]> {
  const { stdout } = await exec('ip', ['-j', '-n', netns.name, ...command.split(' ')]);
  return JSON.parse(stdout || '[]');
}

/** Links with their masters and MTUs, addresses and routes of one namespace, as iproute2 tells; undefined if it is gone. */
async function stateOf(netns: Netns): Promise<unknown> {
  if (!existsSync(netns.path)) return undefined;
  const [links, addresses, routes4, routes6, neighbors] = await Promise.all([
    json(netns, 'link show'),
    json(netns, 'address show'),
    json(netns, '-4 route show table all'),
    json(netns, '-6 route show table all'),
    json(netns, 'neigh show nud permanent'),
  ]);
  return {
    // Without what comes and goes by itself: carrier and operational state.
    links: links.map(({ ifindex, ifname, address, mtu, master, ifalias, flags }) => ({
      ifindex,
      ifname,
      address,
      mtu,
      master,
      ifalias,
      up: flags.includes('UP'),
    })),
    // Link-local addresses and the routes to them come about by themselves, a second or two after a link is up.
    addresses: addresses.flatMap(({ ifname, addr_info: list }) =>
      list.flatMap(({ local, prefixlen, scope }: Json) =>
        scope === 'link' ? [] : [`${ifname} ${local}/${prefixlen}`],
      ),
    ),
    routes: [...routes4, ...routes6]
      .filter(({ dst }) => !/^(fe80:|ff00:)/.test(dst))
      .map(({ dst, dev, gateway, table, type }) => ({ dst, dev, gateway, table, type })),
    neighbors: neighbors.map(({ dst, lladdr, dev }) => ({ dst, lladdr, dev })),
  };
}

/** The state of several namespaces, by name. */
export async function stateOfAll(...namespaces: readonly Netns[]): Promise<Record<string, unknown>> {
  return Object.fromEntries(
    await Promise.all(namespaces.map(async (each) => [each.name, await stateOf(each)] as const)),
  );
}

/**
 * Lists what the process holds open, by kind (`socket`, `anon_inode:[eventpoll]`, `net`, ...), sorted. Pipes are left out:
 * they are those of the test's own children.
 */
export function openFiles(pid: number | 'self' = 'self'): string[] {
  return readdirSync(`/proc/${pid}/fd`)
    .flatMap((fd) => {
      try {
        const target = readlinkSync(`/proc/${pid}/fd/${fd}`);
        // The descriptor of this very listing.
        return target === `/proc/${process.pid}/fd` ? [] : [target.replace(/:\[\d+\]$/, '')];
      } catch {
        return [];
      }
    })
    .filter((target) => target !== 'pipe')
    .sort();
}

/** Finds what is in the one list more often than in the other. */
export function moreThan(before: readonly string[], now: readonly string[]): string[] {
  const rest = [...before];
  return now.filter((each) => {
    const at = rest.indexOf(each);
    if (at >= 0) rest.splice(at, 1);
    return at < 0;
  });
}

/** Names of the process's threads, sorted. */
export function threads(pid: number | 'self' = 'self'): string[] {
  return readdirSync(`/proc/${pid}/task`)
    .map((tid) => {
      try {
        return readFileSync(`/proc/${pid}/task/${tid}/comm`, 'utf8').trim();
      } catch {
        return '';
      }
    })
    .filter(Boolean)
    .sort();
}
