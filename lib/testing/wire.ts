/** A packet's way from one container to another, and the questions that it makes the kernel ask. */
import { NUD } from './entries.js';
import { contains } from './fields.js';
import type { Machine } from './machine.js';
import type { FakeLink, MissKey, Namespace, Observer } from './tables/table.js';

/**
 * Whether a packet arrived: in which namespace, or why it did not.
 * @example
 * ```ts
 * import type { Crossing } from 'overns/testing';
 *
 * const words = (crossing: Crossing): string => (crossing.crossed ? `arrived in ${crossing.netns}` : crossing.why);
 * console.log(words({ crossed: true, netns: 'db' })); // arrived in db
 * ```
 */
export type Crossing =
  | { readonly crossed: true; readonly netns: string }
  | { readonly crossed: false; readonly why: string };

/** States in which vxlan's proxy answers for a neighbour. */
const CONNECTED = NUD.permanent | NUD.noarp | NUD.reachable;

/** The time to live that a container's packets begin with. */
const HOPS = 64;

const lost = (why: string): Crossing => ({ crossed: false, why });
const arrived = ({ name }: Namespace): Crossing => ({ crossed: true, netns: name });

/** Each packet asks anew for its address: what a container remembers of earlier ones is not kept. */
export async function send(machine: Machine, from: Namespace, to: string, timeoutMs: number): Promise<Crossing> {
  const source = from.addresses.find(({ link, scope, ...net }) => link.up && scope === 'global' && contains(net, to));
  if (source === undefined)
    return lost(`${from.name || 'the host'} has no link up with an address in the network of ${to}`);
  if (from.addresses.some((address) => address.ip === to)) return arrived(from);
  if (source.link.kind !== 'veth') {
    const target = hostWith(machine, to);
    return target === undefined ? lost(`no host has ${to}`) : arrived(target);
  }
  const port = source.link.peer;
  const bridge = port?.master;
  if (port === undefined || bridge === undefined || !port.up || !bridge.up) {
    return lost(`${source.link.name} of ${from.name} leads to no bridge that is up`);
  }
  const overlay = port.netns;
  const vxlan = overlay.ports(bridge).find((each) => each.kind === 'vxlan' && each.up);
  const here = deliver(overlay, bridge, to, undefined, port);
  if (here !== undefined) {
    // The question for it is flooded, to vxlan1 as well.
    if (vxlan !== undefined && proxied(vxlan, to) === undefined) ask(vxlan, { ip: to });
    return arrived(here);
  }
  if (vxlan === undefined) return lost(`${bridge.name} of ${overlay.name} has no vxlan device that is up`);

  const deadline = machine.clock.now() + BigInt(Math.round(timeoutMs * 1e6));
  const known = proxied(vxlan, to) !== undefined;
  const mac = await find(machine, vxlan, { ip: to }, deadline, () => proxied(vxlan, to));
  if (typeof mac !== 'string') return lost(`nobody answered who has ${to}${mac.because}`);
  // A host that it has moved away from may send it on, which takes a hop.
  let at = vxlan;
  for (let hops = HOPS; hops > 0; hops--) {
    const row = await find(machine, at, { mac }, deadline, () => at.netns.forwarding(at, mac)[0]);
    if ('because' in row) return lost(`nobody answered where ${mac} is${row.because}`);
    const remote = row.dst === undefined ? undefined : overlayAt(machine, at, row.dst, row.port);
    if (remote === undefined) return lost(`no overlay with vni ${String(at.info.vni)} at ${row.dst ?? 'a nexthop'}`);
    const vtep = localVtep(at);
    if (vtep !== undefined && !remote.netns.learn(remote, source.link.mac, vtep)) {
      return lost(`${remote.netns.name} holds ${source.link.mac} to be at another VTEP, permanently`);
    }
    // Before the asker is answered: who is asked knows it by then.
    if (!known && at === vxlan && primes(vxlan, source.ip, source.link.mac)) {
      for (const each of [...remote.netns.observers]) each.onPrimed?.(remote, source.ip, to);
    }
    const there = remote.master?.up === true ? deliver(remote.netns, remote.master, to, mac, remote) : undefined;
    if (there !== undefined) return arrived(there);
    if (![...remote.netns.observers].some((each) => each.redirects?.(remote, mac) === true))
      return lost(`nobody with ${to} and ${mac} at ${row.dst}`);
    at = remote;
  }
  return lost(`${mac} was sent on until its time was over`);
}

function primes(vxlan: FakeLink, asker: string, mac: string): boolean {
  return [...vxlan.netns.observers].some((each) => each.primes?.(vxlan, asker, mac) === true);
}

/** Finds who on the bridge has the address: a container behind a port, or the bridge itself. */
function deliver(
  netns: Namespace,
  bridge: FakeLink,
  ip: string,
  mac: string | undefined,
  from: FakeLink,
): Namespace | undefined {
  for (const port of netns.ports(bridge)) {
    const end = port.peer;
    if (port === from || end === undefined || !port.up || !end.up || (mac !== undefined && end.mac !== mac)) continue;
    if (end.netns.addresses.some((address) => address.link === end && address.ip === ip)) return end.netns;
  }
  const own = mac === undefined || bridge.mac === mac;
  return own && netns.addresses.some((address) => address.link === bridge && address.ip === ip) ? netns : undefined;
}

function proxied(vxlan: FakeLink, ip: string): string | undefined {
  const neighbor = vxlan.info.proxy === true ? vxlan.netns.neighbor(vxlan, ip) : undefined;
  return neighbor !== undefined && (neighbor.state & CONNECTED) !== 0 ? neighbor.mac : undefined;
}

/** The kernel asks, if the device is told to. */
function ask(vxlan: FakeLink, key: MissKey): void {
  const notice = key.ip === undefined ? 'l2miss' : 'l3miss';
  const caught = key.mac !== undefined && [...vxlan.netns.observers].some((each) => each.catchesL2?.(vxlan) === true);
  if (vxlan.info[notice] === true || caught) vxlan.netns.miss(vxlan, key);
}

/** Looks for an entry; where there is none, has the kernel ask and waits for somebody to make it. */
async function find<T extends object | string>(
  machine: Machine,
  vxlan: FakeLink,
  key: MissKey,
  deadline: bigint,
  look: () => T | undefined,
): Promise<T | { readonly because: string }> {
  const found = look();
  if (found !== undefined) return found;
  let outcome: string | undefined;
  await new Promise<void>((resolve) => {
    const done = (): void => {
      observers.delete(observer);
      alarm.set(undefined);
      resolve();
    };
    const { observers } = vxlan.netns;
    const observer: Observer = { onNews: () => look() !== undefined && done() };
    const alarm = machine.clock.alarm(done, 'ref');
    observers.add(observer);
    alarm.set(deadline);
    ask(vxlan, key);
    vxlan.netns.outcome(vxlan, key)?.then((result) => {
      outcome = result;
      done();
    });
  });
  return look() ?? { because: outcome === undefined ? ' in time' : `: ${outcome}` };
}

function hostWith(machine: Machine, ip: string): Namespace | undefined {
  return [...machine.all()].find((netns) => {
    return netns.addresses.some(({ link, ip: own }) => link.kind === undefined && link.up && own === ip);
  });
}

function overlayAt(machine: Machine, like: FakeLink, vtep: string, port: number | undefined): FakeLink | undefined {
  for (const netns of machine.all()) {
    for (const link of netns.links) {
      const same = link.info.vni === like.info.vni && link.info.port === (port ?? like.info.port);
      const there = link.host?.addresses.some((address) => address.link.up && address.ip === vtep) === true;
      if (link.kind === 'vxlan' && link.up && there && same && link !== like) return link;
    }
  }
  return undefined;
}

function localVtep(vxlan: FakeLink): string | undefined {
  if (typeof vxlan.info.local === 'string') return vxlan.info.local;
  return vxlan.host?.addresses.find(({ link, scope }) => link.up && scope === 'global')?.ip;
}
