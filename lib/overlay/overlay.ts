/** Overlays: a namespace with a bridge and a vxlan device, and the containers attached to it. */
import { randomBytes } from 'node:crypto';
import { channel } from 'node:diagnostics_channel';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Cancel } from '../core/abort.js';
import { checkSignal, throwIfAborted } from '../core/abort.js';
import {
  canonicalIp,
  canonicalMac,
  checkInterfaceName,
  checkMtu,
  checkOverlayName,
  checkPort,
  checkVni,
  formatCidr,
  ipFamily,
  MTU_MIN,
  unicastMac,
  VXLAN_OVERHEAD,
  VXLAN_PORT,
  vtepIp,
} from '../core/address.js';
import { invalidArgument, invalidType, OvernsError } from '../core/errors.js';
import { boolean, checkOptions, type Shape, signalOf, unchecked, type Values } from '../core/options.js';
import type { QueueOptions, Subscription } from '../core/subscription.js';
import { createSubscription } from '../core/subscription.js';
import { transaction } from '../core/transaction.js';
import { lockNamespace } from '../netns/lock.js';
import type { NetnsRef } from '../netns/references.js';
import { listNetns, netnsDirectory, netnsIdentity, netnsPath, netnsReference } from '../netns/references.js';
import { openMonitor } from '../rtnl/monitor/events.js';
import { Rtnl } from '../rtnl/rtnl.js';
import type { Link } from '../rtnl/types.js';
import type { Endpoint, Store, Where } from '../store/contract.js';
import { kernel } from '../system/kernel-error.js';
import { system } from '../system/system.js';
import { attach as attachContainer, BRIDGE } from './attach.js';
import { type Attached, type Attachment, listAttached, publicEndpoint } from './attachment.js';
import {
  type ContainerRoute,
  checkAddresses,
  checkGateways,
  checkRoutes,
  containerNetwork,
} from './container-network.js';
import { askControl, followControl } from './control.js';
import { refuseDifferences } from './differences.js';
import { neverAsks, remake } from './fitness.js';
import type { Miss } from './miss.js';
import { sayWhoHasIt } from './port-holder.js';
import type { ContainerRef } from './targets/container.js';
import { checkContainer, resolveContainer } from './targets/container.js';
import { parseDockerAddress } from './targets/docker-address.js';
import { findSource, findUnderlay, type UnderlayQuestion } from './underlay.js';
import type { UnderlayChange } from './underlay-watch.js';
import { UnderlayWatch, underlayFault } from './underlay-watch.js';

const VXLAN = 'vxlan1';
/** How long a namespace may be on its way, and how often it is looked at, milliseconds. */
const PATIENCE_MS = 2000;
const PASSING_MS = 2;
/** How long a store that has just failed is given to take back what it may have written. */
const WITHDRAW_MS = 2000;
/** What stands in the way of an observer without ending it: `{ overlay, error }`. */
const warnings = channel('overns:overlay:warning');

/** How often an observer of misses looks for a resolver. */
const RESOLVER_RETRY_MS = 500;

/**
 * An overlay as it stands in the kernel.
 * @example
 * ```ts
 * import type { OverlayInfo } from 'overns';
 *
 * const info: OverlayInfo = { overlay: 'overns', vni: 42, vtep: '10.0.0.10', port: 4789, mtu: 1450 };
 * console.log(info.mtu); // 1450
 * ```
 */
export interface OverlayInfo extends Where {
  /** The host's underlay address. */
  readonly vtep: string;
  /** UDP port of the VXLAN packets. */
  readonly port: number;
  /** Largest IP packet that crosses, bytes. */
  readonly mtu: number;
}

/**
 * How an overlay is made.
 * @example
 * ```ts
 * import type { OverlayOptions } from 'overns';
 *
 * const options: OverlayOptions = { name: 'overns', vni: 42, address: ['192.168.0.1/24', 'fd00::1/64'] };
 * console.log(options.vni); // 42
 * ```
 */
export interface OverlayOptions extends Cancel {
  /** The overlay's name, which becomes a namespace in /run/netns. */
  readonly name: string;
  /** VXLAN network identifier, 1 to 2^24-1 (RFC 7348). */
  readonly vni: number;
  /** Addresses of br0 with prefix lengths: the gateway's, the same on every host. Default: none. */
  readonly address?: string | readonly string[] | undefined;
  /** UDP port, 1 to 65535. Default 4789 (IANA). */
  readonly port?: number | undefined;
  /** Bytes. Default `auto`: the underlay's less the VXLAN overhead (50; 70 over IPv6). */
  readonly mtu?: number | 'auto' | undefined;
  /** The host's underlay address. Default: that of the route out of the host, else its only global one. */
  readonly vtep?: string | undefined;
  /** The namespace that is the host. Default: the caller's. */
  readonly host?: NetnsRef | undefined;
}

/**
 * How a container is attached.
 * @example
 * ```ts
 * import type { AttachOptions } from 'overns';
 *
 * const options: AttachOptions = { address: ['192.168.0.2/24', 'fd00::2/64'], ifname: 'eth1' };
 * console.log(options.ifname); // eth1
 * ```
 */
export interface AttachOptions extends Cancel {
  /** The container's addresses, with prefix lengths; at least one. */
  readonly address: string | readonly string[];
  /** Default: `02:42:` and the IPv4 address (IPv6 only: and the first 4 bytes of the address's SHA-256). */
  readonly mac?: string | undefined;
  /** Name of the interface in the container. Default `eth0`. */
  readonly ifname?: string | undefined;
  /**
   * The default route's gateway, in a network of `address`: br0's address as a rule. One, or one of each family.
   * Default: no default route.
   */
  readonly gateway?: string | readonly string[] | undefined;
  /** Further routes through the interface. */
  readonly routes?: readonly ContainerRoute[] | undefined;
  /** Fulfil as well when the container is attached already in the same way, and publish it anew. Default false: `EEXIST`. */
  readonly ensure?: boolean | undefined;
  /**
   * Take an address that br0's own speak against: br0's, its network's or broadcast address, or one outside its network.
   * Default false: `EADDRNOTAVAIL`.
   */
  readonly anyAddress?: boolean | undefined;
  /** Where the endpoint is published once it works. */
  readonly store?: Store | undefined;
  /** Docker's API, as DOCKER_HOST has it. Default: DOCKER_HOST, else `unix:///var/run/docker.sock`. */
  readonly docker?: string | undefined;
}

const createOptions = {
  name: [checkOverlayName],
  vni: [checkVni],
  address: checkAddresses,
  port: checkPort,
  mtu: (value, name) => (value === 'auto' ? value : checkMtu(value, name)),
  vtep: vtepIp,
  host: netnsReference,
  signal: checkSignal,
} satisfies Shape;

const openOptions = { host: netnsReference, signal: checkSignal } satisfies Shape;

const attachOptions = {
  address: [checkAddresses],
  mac: unicastMac,
  ifname: checkInterfaceName,
  gateway: checkGateways,
  routes: checkRoutes,
  ensure: boolean,
  anyAddress: boolean,
  store: unchecked<Store>(),
  docker: dockerOption,
  signal: checkSignal,
} satisfies Shape;

const detachOptions = { store: unchecked<Store>(), docker: dockerOption, signal: checkSignal } satisfies Shape;

function dockerOption(value: unknown, name: string): string {
  if (typeof value !== 'string') throw invalidType(name, value, 'a string');
  parseDockerAddress(value, name);
  return value;
}

interface State extends OverlayInfo {
  readonly path: string;
  /** Path of the host's namespace, as far as it is known yet. */
  readonly host?: string | undefined;
}

/**
 * A host's part of an overlay network: a namespace with a bridge `br0` and a vxlan device `vxlan1`, and the containers
 * attached to it. This is a handle: closing it leaves what the kernel has.
 * @example
 * ```ts
 * import { Overlay } from 'overns';
 *
 * await using overlay = await Overlay.create({ name: 'blue', vni: 42, address: '192.168.0.1/24' });
 * const endpoint = await overlay.attach('netns:web', { address: '192.168.0.2/24' });
 * console.log(endpoint.mac, endpoint.vtep); // 02:42:c0:a8:00:02 10.0.0.10
 * ```
 */
export class Overlay implements AsyncDisposable {
  readonly name: string;
  readonly vni: number;
  readonly vtep: string;
  readonly port: number;
  readonly mtu: number;
  /** Path of the overlay's namespace. */
  readonly netns: string;
  #rtnl: Rtnl | undefined;
  #host: string | undefined;

  private constructor(state: State, rtnl: Rtnl) {
    this.name = state.overlay;
    this.vni = state.vni;
    this.vtep = state.vtep;
    this.port = state.port;
    this.mtu = state.mtu;
    this.netns = state.path;
    this.#host = state.host;
    this.#rtnl = rtnl;
  }

  /**
   * Makes an overlay: all of it, or nothing.
   * @throws OvernsError `EEXIST` (the name is taken: what is there is unchanged), `EADDRNOTAVAIL` (no VTEP can be
   *   chosen); NetlinkError for what the kernel refuses, as a VNI that the host has already; RangeError or TypeError
   *   for a wrong argument
   * @example
   * ```ts
   * import { Overlay } from 'overns';
   *
   * await using overlay = await Overlay.create({ name: 'blue', vni: 42, mtu: 1400 });
   * console.log(overlay.vtep, overlay.port, overlay.mtu); // 10.0.0.10 4789 1400
   * const again = await Overlay.create({ name: 'blue', vni: 43 }).catch((error) => error);
   * console.log(again.code); // EEXIST
   * ```
   */
  static async create(options: OverlayOptions): Promise<Overlay> {
    return Overlay.#make(checkCreation(options), false);
  }

  /**
   * Makes an overlay, or opens the one that is there if it is the same: what the options leave open may be anything. What
   * a process that was killed in the middle has left is completed. Several processes may do this at once.
   * @throws OvernsError `EEXIST`, which names the differences, or when the name is another namespace's; otherwise as
   *   {@link create}
   * @example
   * ```ts
   * import { Overlay } from 'overns';
   *
   * await using made = await Overlay.ensure({ name: 'blue', vni: 42 });
   * await using same = await Overlay.ensure({ name: 'blue', vni: 42 });
   * console.log(same.mtu === made.mtu); // true
   * const other = await Overlay.ensure({ name: 'blue', vni: 43 }).catch((error) => error);
   * console.log(other.message); // overlay "blue" exists, but is not the same: vni 42 instead of 43
   * ```
   */
  static async ensure(options: OverlayOptions): Promise<Overlay> {
    const checked = checkCreation(options);
    const deadline = performance.now() + PATIENCE_MS;
    for (;;) {
      try {
        return await Overlay.#make(checked, true);
      } catch (error) {
        // Somebody is just making or removing the namespace: a name is a file first, and a namespace a moment later.
        if (!(error instanceof Passing)) throw error;
        if (performance.now() > deadline) throw error.cause ?? nameTaken(checked.name);
        await sleep(PASSING_MS);
      }
    }
  }

  static async #make(checked: Creation, ensure: boolean): Promise<Overlay> {
    const { signal, name, vni, port = VXLAN_PORT, address, mtu: asked = 'auto', vtep: given } = checked;
    const addresses = address ?? [];
    throwIfAborted(signal);
    const hostPath = await netnsPath(checked.host, 'host');
    const host = await Rtnl.open({ netns: checked.host });
    try {
      const path = join(netnsDirectory(), name);
      const before = await netnsIdentity(path).catch(() => undefined);
      // What is there needs no underlay: it may have changed since.
      let underlay = ensure && before !== undefined ? undefined : await measure(host, checked);
      return await transaction(signal, async (t) => {
        let mine = false;
        const remove = async (): Promise<void> => {
          if (!mine) return;
          mine = false;
          await kernel({ what: `remove the name "${name}"`, request: { path } }, system().native.deleteNetns(path));
        };
        await t.step(
          'namespace',
          async () => {
            try {
              await makeNamespace(path, name);
              mine = true;
            } catch (error) {
              if (!ensure || (error as OvernsError).code !== 'EEXIST') throw error;
            }
          },
          remove,
        );
        const identity = await netnsIdentity(path).catch(() => undefined);
        const rtnl = await t.step(
          'socket',
          () => there(mine, () => Rtnl.open({ netns: { path } })),
          (socket) => socket.close(),
        );
        const unlock = await t.step(
          'turn',
          () => there(mine, () => lockNamespace(path, signal)),
          // Before the next one's turn: it would work in a namespace that is losing its name.
          async (release) => {
            await remove().finally(release);
          },
        );
        if (!mine && identity !== (await netnsIdentity(path).catch(() => undefined))) throw new Passing('gone');
        const links = await rtnl.links.list();
        if (links.some((link) => link.name !== 'lo')) {
          // Somebody's since before, or one that has ensured it was quicker.
          mine = false;
          if (!ensure) throw nameTaken(name);
          if (links.some((link) => link.name === VXLAN && link.kind === 'vxlan')) {
            await refuseDifferences(rtnl, links, {
              name,
              vni,
              port,
              addresses: address,
              mtu: asked,
              vtep: given,
              host: hostPath,
            });
            const state = await readState(name, path, rtnl, checked.host);
            if (!state) throw nameTaken(name);
            unlock();
            return new Overlay(state, rtnl);
          }
          if (links.some((link) => link.name !== 'lo' && link.name !== BRIDGE)) throw nameTaken(name);
          // Whoever made it has died: nobody else is at work.
          await rtnl.links.delete({ name: BRIDGE });
        }
        underlay ??= await measure(host, checked);
        const { vtep, mtu, vrf } = underlay;
        await t.step(
          BRIDGE,
          () =>
            // Without snooping: IPv6 solicitations must reach vxlan1 (an MLD querier would keep them from it).
            rtnl.links.add({ kind: 'bridge', name: BRIDGE, mac: randomMac(), mcastSnooping: false, up: true }),
          () => rtnl.links.delete({ name: BRIDGE }),
        );
        if (addresses.length > 0) {
          await t.step('addresses', async () => {
            for (const address of addresses) {
              await rtnl.addresses.add({ link: BRIDGE, address: formatCidr(address), nodad: true });
            }
          });
        }
        const [bridge] = await rtnl.links.list({ kind: 'bridge', name: BRIDGE });
        await t.step(
          VXLAN,
          () =>
            // One message on a socket of the host: made in the overlay, linked to the host's sockets and routes.
            host.links
              .add({
                kind: 'vxlan',
                name: VXLAN,
                netns: { path },
                masterIndex: bridge?.index,
                up: true,
                mtu,
                vni,
                port,
                local: vtep,
                device: vrf,
                proxy: true,
                learning: true,
                l2miss: true,
                l3miss: true,
              })
              .catch(async (error) => {
                throw await sayWhoHasIt(error, { host, hostPath, vni, port, own: path });
              }),
          () => rtnl.links.delete({ name: VXLAN }),
        );
        unlock();
        return new Overlay({ overlay: name, vni, vtep, port, mtu, path, host: hostPath }, rtnl);
      });
    } finally {
      await host.close();
    }
  }

  /**
   * Opens an overlay that exists, also one made by hand.
   * @throws OvernsError `ENOENT` (no such namespace), `EINVAL` (it is no overlay), `EADDRNOTAVAIL` (made without a
   *   local address, and the host cannot be told)
   * @example
   * ```ts
   * import { Overlay } from 'overns';
   *
   * const made = await Overlay.create({ name: 'blue', vni: 42 });
   * await made.close();
   * await using overlay = await Overlay.open('blue');
   * console.log(overlay.vni); // 42
   * ```
   */
  static async open(name: string, options: Cancel & { readonly host?: NetnsRef | undefined } = {}): Promise<Overlay> {
    checkOverlayName(name);
    const { host, signal } = checkOptions(options, openOptions);
    throwIfAborted(signal);
    const path = await netnsPath(name, 'name');
    const rtnl = await Rtnl.open({ netns: { path }, signal });
    try {
      const state = await readState(name, path, rtnl, host);
      if (!state) throw notAnOverlay(name);
      throwIfAborted(signal);
      return new Overlay(state, rtnl);
    } catch (error) {
      await rtnl.close();
      throw error;
    }
  }

  /**
   * The overlays among the named namespaces of this machine. One that cannot be read, as somebody else's device of the
   * same name, is left out.
   * @throws NetlinkError for what the kernel refuses; AbortError
   * @example
   * ```ts
   * import { Overlay } from 'overns';
   *
   * await using blue = await Overlay.create({ name: 'blue', vni: 42 });
   * await using red = await Overlay.create({ name: 'red', vni: 43 });
   * console.log((await Overlay.list()).map(({ overlay, vni }) => `${overlay} ${vni}`)); // [ 'blue 42', 'red 43' ]
   * ```
   */
  static async list(options: Cancel = {}): Promise<readonly OverlayInfo[]> {
    return refuseForbidden(await surveyOverlays(signalOf(options))).found;
  }

  /**
   * Path of the namespace that is the host: the one vxlan1 is linked to.
   * @throws OvernsError `OVERNS_HOST` when it cannot be found
   * @example
   * ```ts
   * import { Overlay, Rtnl } from 'overns';
   *
   * await using overlay = await Overlay.create({ name: 'blue', vni: 42 });
   * await using host = await Rtnl.open({ netns: await overlay.host() });
   * console.log((await host.addresses.list()).some(({ address }) => address === '10.0.0.10/24')); // true
   * ```
   */
  async host(): Promise<string> {
    if (this.#host !== undefined) return this.#host;
    const rtnl = this.#open();
    const [vxlan] = await rtnl.links.list({ kind: 'vxlan', name: VXLAN });
    if (!vxlan) throw notAnOverlay(this.name);
    this.#host = await findHost(this.name, rtnl, vxlan);
    return this.#host;
  }

  #open(): Rtnl {
    if (this.#rtnl) return this.#rtnl;
    throw new OvernsError('OVERNS_CLOSED', `overlay "${this.name}" is closed`, {
      hint: `open it again with Overlay.open('${this.name}')`,
    });
  }

  /**
   * Attaches a container: a veth into its namespace, its MAC and addresses, up, and published when a store is given.
   * All of it, or nothing.
   * @throws OvernsError `EEXIST` (the container or the address is attached already), `ENOENT` (no such container),
   *   `OVERNS_NOT_RUNNING`, `OVERNS_STORE`; NetlinkError for what the kernel refuses
   * @example
   * ```ts
   * import { Overlay, openStore } from 'overns';
   *
   * await using overlay = await Overlay.create({ name: 'blue', vni: 42 });
   * await using store = await openStore('memory:');
   * const endpoint = await overlay.attach('netns:web', { address: ['192.168.0.2/24', 'fd00::2/64'], store });
   * console.log(endpoint.ips); // [ '192.168.0.2', 'fd00::2' ]
   * ```
   */
  async attach(container: ContainerRef, options: AttachOptions): Promise<Attachment> {
    const rtnl = this.#open();
    const checked = checkOptions(options, attachOptions);
    const { address: addresses, mac, ifname = 'eth0', store, docker, signal } = checked;
    const [first] = addresses;
    if (!first) throw invalidArgument('address', '[]', 'at least one address');
    const network = containerNetwork(addresses, checked.gateway ?? [], checked.routes ?? []);
    checkContainer(container);
    if (this.mtu < MTU_MIN[6] && addresses.some((address) => address.family === 6)) {
      throw invalidArgument(
        'address',
        formatCidr(first),
        `possible here: IPv6 needs an MTU of 1280, "${this.name}" has ${this.mtu}`,
      );
    }
    const write = store === undefined ? undefined : this.#writer(store, 'publish');
    throwIfAborted(signal);

    const target = await resolveContainer(container, { signal, docker });
    if ((await netnsIdentity(target.path)) === (await netnsIdentity(this.netns))) {
      throw new OvernsError('EINVAL', `${target.description} is the overlay's own namespace, no container`, {
        hint: 'name the container to attach',
      });
    }
    const takeBack = async (endpoint: Endpoint, cancel: Cancel): Promise<void> =>
      this.#writer(store as Store, 'withdraw')(publicEndpoint(endpoint), cancel);
    const publish = async (endpoint: Endpoint, made: boolean): Promise<void> => {
      try {
        await write?.(publicEndpoint(endpoint), { signal });
      } catch (error) {
        // It may have been written all the same, when its answer was lost or not waited for.
        if (made) await takeBack(endpoint, { signal: AbortSignal.timeout(WITHDRAW_MS) }).catch(() => {});
        throw error;
      }
    };
    const { ensure = false, anyAddress = false } = checked;
    return attachContainer(
      rtnl,
      this,
      {
        ...network,
        target,
        mac,
        ifname,
        ensure,
        anyAddress,
        publish: write && publish,
        withdraw: write && ((endpoint) => takeBack(endpoint, {})),
      },
      { signal },
    );
  }

  /** The store's method, told which overlay it is about. */
  #writer(store: Store, method: 'publish' | 'withdraw'): (endpoint: Endpoint, options: Cancel) => Promise<void> {
    if (store === null || typeof store !== 'object') throw invalidType('store', store, 'a store');
    const write = store[method];
    if (typeof write !== 'function') throw invalidType('store', store, `a store with ${method}()`);
    const where: Where = { overlay: this.name, vni: this.vni };
    return (endpoint, { signal }) => write.call(store, endpoint, { ...where, ...(signal && { signal }) });
  }

  /**
   * Takes a container off the overlay: withdrawn from the store when one is given, then its veth removed.
   * `{ ip }` also finds one whose container is gone, in the store.
   * @throws OvernsError `ENOENT` when it is not attached
   * @example
   * ```ts
   * import { Overlay } from 'overns';
   *
   * await using overlay = await Overlay.create({ name: 'blue', vni: 42 });
   * await overlay.attach('netns:web', { address: '192.168.0.2/24' });
   * const endpoint = await overlay.detach({ ip: '192.168.0.2' });
   * console.log(endpoint.mac); // 02:42:c0:a8:00:02
   * ```
   */
  async detach(
    target: ContainerRef | { readonly ip: string },
    options: Cancel & { readonly store?: Store | undefined; readonly docker?: string | undefined } = {},
  ): Promise<Endpoint> {
    const rtnl = this.#open();
    const { store, docker, signal } = checkOptions(options, detachOptions);
    const withdraw = store === undefined ? undefined : this.#writer(store, 'withdraw');
    throwIfAborted(signal);
    const byIp = typeof target === 'object' && target !== null && 'ip' in target;
    const attached = await listAttached(rtnl, this.vtep);
    let found: Attached | undefined;
    let words: string;
    if (byIp) {
      const ip = canonicalIp(target.ip, 'ip');
      words = ip;
      found = attached.find(({ attachment }) => attachment.ips.includes(ip));
      if (!found && store) {
        const gone = await this.#published(store, ip, signal);
        if (gone) {
          await withdraw?.(gone, { signal });
          return gone;
        }
      }
    } else {
      const container = await resolveContainer(target, { signal, docker });
      words = container.description;
      const nsid = await rtnl.nsid({ path: container.path });
      const own = nsid < 0 ? [] : attached.filter(({ link }) => link.linkNetnsid === nsid);
      if (own.length > 1) throw severalTimes(words, this.name, own);
      found = own[0];
    }
    if (!found) {
      throw new OvernsError('ENOENT', `${words} is not attached to "${this.name}"`, {
        hint: `\`overns show ${this.name}\` lists what is`,
      });
    }
    const { attachment } = found;
    const endpoint = publicEndpoint(attachment);
    // The record first: while the container still answers, nobody is sent to where it no longer is.
    await withdraw?.(endpoint, { signal });
    try {
      await rtnl.links.delete({ name: found.link.name });
    } catch (error) {
      // A veth goes with its container, which may end meanwhile.
      if (OvernsError.is(error) && error.code === 'ENODEV') return attachment;
      if (withdraw && store) await this.#writer(store, 'publish')(endpoint, {}).catch(() => {});
      throw error;
    }
    return attachment;
  }

  /** What the store has for an address of this host. */
  async #published(store: Store, ip: string, signal: AbortSignal | undefined): Promise<Endpoint | undefined> {
    const where = { overlay: this.name, vni: this.vni };
    const answer = await store.lookup({ ...where, kind: 'l3', ip }, { signal: signal ?? new AbortController().signal });
    if (!answer || answer.vtep !== this.vtep) return undefined;
    return { ip, ips: [ip], mac: answer.mac, vtep: answer.vtep };
  }

  /**
   * The containers attached to this host's part of the overlay, read back from the kernel.
   * @throws OvernsError `OVERNS_CLOSED`
   * @example
   * ```ts
   * import { Overlay } from 'overns';
   *
   * await using overlay = await Overlay.create({ name: 'blue', vni: 42 });
   * await overlay.attach('netns:web', { address: '192.168.0.2/24' });
   * await overlay.attach('netns:db', { address: '192.168.0.3/24' });
   * console.log((await overlay.endpoints()).map(({ ip }) => ip).sort()); // [ '192.168.0.2', '192.168.0.3' ]
   * ```
   */
  async endpoints(options: Cancel = {}): Promise<readonly Attachment[]> {
    const rtnl = this.#open();
    throwIfAborted(signalOf(options));
    return (await listAttached(rtnl, this.vtep)).map(({ attachment }) => attachment);
  }

  /**
   * What the kernel asks, from now on. Observes only: nothing is answered. Where a resolver catches the packets of L2
   * misses the kernel notifies nobody of them; the resolver tells of them then.
   * @throws OvernsError `OVERNS_CLOSED`; NetlinkError
   * @example
   * ```ts
   * import { Overlay } from 'overns';
   *
   * await using overlay = await Overlay.create({ name: 'blue', vni: 42 });
   * await using misses = overlay.misses({ maxQueue: 4096 });
   * setTimeout(() => misses.return?.(), 100); // or a signal
   * const seen: string[] = [];
   * for await (const miss of misses) seen.push(miss.kind === 'l3' ? miss.ip : miss.mac);
   * ```
   */
  misses(options?: QueueOptions): Subscription<Miss> {
    this.#open();
    const where = { overlay: this.name, vni: this.vni };
    return createSubscription<Miss>(options, (queue) => {
      /** Of another vxlan device of the namespace: its own VNI is asked for first. */
      const tellOfOther = async (link: string, misses: readonly Miss[]): Promise<void> => {
        const found = (await this.#rtnl?.links.list({ name: link }).catch(() => []))?.find(({ name }) => name === link);
        if (typeof found?.vni === 'number')
          queue.pushAll(misses.map((miss) => ({ ...miss, vni: found.vni as number })));
      };
      const closeMonitor = openMonitor({ path: this.netns, groups: ['miss'], netns: this.name }, (events) => {
        const misses: Miss[] = [];
        const others = new Map<string, Miss[]>();
        for (const event of events) {
          if (event.kind !== 'miss' || event.vxlan !== true) continue;
          const link = String(event.link);
          const about = { ...where, link, atNs: event.atNs as bigint };
          const miss: Miss =
            event.query === 'l3'
              ? { ...about, kind: 'l3', ip: String(event.ip) }
              : { ...about, kind: 'l2', mac: String(event.mac) };
          if (link === VXLAN) misses.push(miss);
          else others.set(link, [...(others.get(link) ?? []), miss]);
        }
        queue.pushAll(misses);
        for (const [link, theirs] of others) void tellOfOther(link, theirs);
      });
      let retry: NodeJS.Timeout | undefined;
      let stop = (): void => {};
      const follow = (): void => {
        stop = followControl(
          this.netns,
          { op: 'misses' },
          {
            line: (line) => {
              const miss = readMiss(line);
              if (miss) queue.push({ ...where, link: VXLAN, kind: 'l2', ...miss });
              return miss !== undefined;
            },
            end: (error) => {
              if (error && warnings.hasSubscribers) warnings.publish({ overlay: this.name, error });
              // A resolver may start later.
              retry = setTimeout(follow, RESOLVER_RETRY_MS);
              retry.unref();
            },
          },
        );
      };
      follow();
      return () => {
        closeMonitor();
        clearTimeout(retry);
        stop();
      };
    });
  }

  /**
   * Removes the overlay from the kernel: vxlan1, the containers' veths, br0, then the name. A resolver that serves it
   * is told first. The handle is closed afterwards.
   * @throws OvernsError `OVERNS_CLOSED`; NetlinkError for what the kernel refuses
   * @example
   * ```ts
   * import { Overlay } from 'overns';
   *
   * const overlay = await Overlay.create({ name: 'blue', vni: 42 });
   * await overlay.delete();
   * console.log(await Overlay.list()); // []
   * ```
   */
  async delete(options: Cancel = {}): Promise<void> {
    const rtnl = this.#open();
    const signal = signalOf(options);
    throwIfAborted(signal);
    // A resolver that is stopped or stuck must not keep its overlay alive.
    await askControl(this.netns, { op: 'deleted' }).catch(() => undefined);
    throwIfAborted(signal);
    // The links themselves: a socket that is open somewhere keeps the namespace, and with it the VNI, alive.
    const links = await rtnl.links.list();
    const order = [
      ...links.filter((link) => link.name === VXLAN),
      ...links.filter((link) => link.kind === 'veth' && link.master === BRIDGE),
      ...links.filter((link) => link.name === BRIDGE),
    ];
    for (const link of order) {
      try {
        await rtnl.links.delete({ name: link.name });
      } catch (error) {
        // A veth goes with its container, which may happen meanwhile.
        if (!OvernsError.is(error) || error.code !== 'ENODEV') throw error;
      }
    }
    await kernel(
      { what: `remove the name "${this.name}"`, request: { path: this.netns } },
      system().native.deleteNetns(this.netns),
    );
    await this.close();
  }

  /**
   * Closes the handle; the overlay stays. Idempotent.
   * @example
   * ```ts
   * import { Overlay } from 'overns';
   *
   * const overlay = await Overlay.create({ name: 'blue', vni: 42 });
   * await overlay.close();
   * console.log((await Overlay.list()).length); // 1
   * ```
   */
  async close(): Promise<void> {
    const rtnl = this.#rtnl;
    this.#rtnl = undefined;
    await rtnl?.close();
  }

  /**
   * What is wrong with the underlay now: the VTEP is no address of the host any more (`EADDRNOTAVAIL`), its link is down
   * (`ENETDOWN`), or packets as large as the overlay's MTU do not fit (`EMSGSIZE`). Undefined where nothing is.
   * @throws OvernsError `OVERNS_CLOSED`, `OVERNS_HOST`; NetlinkError
   * @example
   * ```ts
   * import { Overlay } from 'overns';
   *
   * await using overlay = await Overlay.create({ name: 'blue', vni: 42 });
   * console.log(await overlay.underlayFault()); // undefined
   * ```
   */
  async underlayFault(options: Cancel = {}): Promise<OvernsError | undefined> {
    this.#open();
    const signal = signalOf(options);
    await using host = await Rtnl.open({ netns: { path: await this.host() }, signal });
    return await underlayFault(host, this);
  }

  /**
   * Tells when the underlay stops to do for this overlay, and when it does again; first of what is wrong already. Links
   * and addresses of the host are listened to, and routes looked at every 10 s.
   * @throws OvernsError `OVERNS_CLOSED`
   * @example
   * ```ts
   * import { Overlay } from 'overns';
   *
   * await using overlay = await Overlay.create({ name: 'blue', vni: 42 });
   * await using changes = overlay.underlayChanges();
   * setTimeout(() => changes.return?.(), 100); // or a signal
   * for await (const { fault } of changes) console.log(fault === undefined ? 'as it was' : fault.message);
   * ```
   */
  underlayChanges(options?: QueueOptions): Subscription<UnderlayChange> {
    this.#open();
    return createSubscription<UnderlayChange>(options, (queue) => {
      const watch = new UnderlayWatch((change) => queue.push(change));
      const { name, vni, vtep, port, mtu } = this;
      this.host()
        .then((host) => watch.add({ name, vni, vtep, port, mtu, host }))
        .catch((error) => queue.fail(error));
      return () => void watch[Symbol.asyncDispose]();
    });
  }

  /** As {@link close}. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

function severalTimes(words: string, overlay: string, attached: readonly Attached[]): OvernsError {
  const ways = attached.map(({ attachment }) => `${attachment.ifname || attachment.veth} ${attachment.ip}`);
  return new OvernsError('ENOTUNIQ', `${words} is attached to "${overlay}" several times: ${ways.join(', ')}`, {
    hint: `say which by its address: { ip: '${attached[0]?.attachment.ip}' } (--address)`,
  });
}

/** A miss as a resolver tells it; undefined for what is none. */
function readMiss({ mac, atNs }: Readonly<Record<string, unknown>>): { mac: string; atNs: bigint } | undefined {
  if (typeof mac !== 'string' || typeof atNs !== 'string' || !/^\d{1,20}$/.test(atNs)) return undefined;
  try {
    return { mac: canonicalMac(mac), atNs: BigInt(atNs) };
  } catch {
    return undefined;
  }
}

/** The overlays among the named namespaces, and what looks like one and cannot be read as one. */
export interface Survey {
  readonly found: readonly OverlayInfo[];
  readonly failed: readonly { readonly overlay: string; readonly error: Error }[];
}

/** All namespaces that have a vxlan1: those that are overlays, and why the others cannot be taken for one. */
export async function surveyOverlays(signal: AbortSignal | undefined): Promise<Survey> {
  const found: OverlayInfo[] = [];
  const failed: { overlay: string; error: Error }[] = [];
  for (const name of await listNetns()) {
    throwIfAborted(signal);
    const path = join(netnsDirectory(), name);
    try {
      await using rtnl = await Rtnl.open({ netns: { path } });
      const state = await readState(name, path, rtnl, undefined);
      if (!state) continue;
      const { path: _path, host: _host, ...info } = state;
      found.push(info);
    } catch (error) {
      // One that has gone since it was listed is none.
      if ((error as OvernsError).code !== 'ENOENT') failed.push({ overlay: name, error: error as Error });
    }
  }
  return { found, failed };
}

/** Throws where none could be looked at for want of privileges, which is not to be taken for none. */
export function refuseForbidden(survey: Survey): Survey {
  const forbidden = survey.failed.find(({ error }) => ['EPERM', 'EACCES'].includes((error as OvernsError).code));
  if (survey.found.length === 0 && forbidden) throw forbidden.error;
  return survey;
}

const noOverlays = new WeakSet<Error>();

/** True for the error of a namespace that has no vxlan1 at all. */
export function isNoOverlay(error: unknown): boolean {
  return noOverlays.has(error as Error);
}

type Creation = Values<typeof createOptions>;

function checkCreation(options: OverlayOptions): Creation {
  const checked = checkOptions(options, createOptions);
  const { address = [], mtu } = checked;
  if (typeof mtu === 'number' && address.some(({ family }) => family === 6)) checkMtu(mtu, 'mtu', 6);
  return checked;
}

/** What the underlay leaves for an overlay. */
async function measure(host: Rtnl, { address = [], mtu: asked = 'auto', vtep, port = VXLAN_PORT, signal }: Creation) {
  const carries6 = address.some(({ family }) => family === 6);
  const underlay = await findUnderlay(host, { vtep, port, signal });
  const overhead = VXLAN_OVERHEAD[ipFamily(underlay.vtep)];
  const mtu = asked === 'auto' ? underlay.mtu - overhead : asked;
  const most = underlay.most - overhead;
  if (mtu > most) {
    throw invalidArgument(
      'mtu',
      mtu,
      `at most ${most}: ${underlay.limit} carries ${underlay.most} bytes less ${overhead} of VXLAN`,
    );
  }
  if (mtu < MTU_MIN[carries6 ? 6 : 4]) {
    throw new OvernsError(
      'EMSGSIZE',
      `${underlay.limit} carries ${underlay.mtu} bytes: ${mtu} are left for the overlay, too few for IP`,
      { hint: `raise the MTU of ${underlay.limit}` },
    );
  }
  return { vtep: underlay.vtep, vrf: underlay.vrf, mtu };
}

/** What was found was on its way to something else. */
class Passing extends Error {}

/** Something done in a namespace that somebody else has made, and that may be gone or not yet be one. */
async function there<T>(mine: boolean, run: () => Promise<T>): Promise<T> {
  try {
    return await run();
  } catch (cause) {
    const passing = !mine && ['ENOENT', 'EINVAL'].includes((cause as NodeJS.ErrnoException).code ?? '');
    throw passing ? new Passing('gone', { cause }) : cause;
  }
}

function nameTaken(name: string, cause?: unknown): OvernsError {
  return new OvernsError('EEXIST', `a namespace "${name}" exists already`, {
    hint: `choose another name, or remove it: overns delete ${name}`,
    cause,
  });
}

function notAnOverlay(name: string): OvernsError {
  const error = new OvernsError('EINVAL', `namespace "${name}" is no overlay: it has no ${VXLAN}`, {
    hint: 'make one with `overns create`, after removing this one',
  });
  noOverlays.add(error);
  return error;
}

/** A new namespace under its name; a name that is taken is told apart from other failures. */
async function makeNamespace(path: string, name: string): Promise<void> {
  try {
    await kernel({ what: `make namespace ${path}`, request: { name } }, system().native.createNetns(path));
  } catch (error) {
    if (!OvernsError.is(error) || error.code !== 'EEXIST') throw error;
    throw nameTaken(name, error);
  }
}

/**
 * An address for br0 of its own. Without one it would take that of its lowest port, and change as containers come
 * and go.
 */
function randomMac(): string {
  const bytes = randomBytes(6);
  bytes[0] = ((bytes[0] as number) & 0xfc) | 0x02; // unicast, locally administered
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join(':');
}

/** The overlay in a namespace, or undefined when there is none. */
async function readState(
  name: string,
  path: string,
  rtnl: Rtnl,
  host: NetnsRef | undefined,
): Promise<State | undefined> {
  const vxlan = (await rtnl.links.list({ kind: 'vxlan' })).find((link) => link.name === VXLAN);
  if (!vxlan || typeof vxlan.vni !== 'number') return undefined;
  const never = neverAsks(vxlan);
  if (never !== undefined) {
    throw new OvernsError('EINVAL', `namespace "${name}" is no overlay: its ${never}`, { hint: remake(name) });
  }
  let vtep = typeof vxlan.local === 'string' ? vxlan.local : undefined;
  let hostPath = host === undefined ? undefined : await netnsPath(host, 'host');
  if (vtep === undefined) {
    // Made by hand, without `local`: the kernel chooses the source by route, packet by packet.
    hostPath ??= await findHost(name, rtnl, vxlan);
    const underlay = await Rtnl.open({ netns: { path: hostPath } });
    try {
      vtep = await findSource(underlay, await unsaid(underlay, vxlan));
    } finally {
      await underlay.close();
    }
  }
  return { overlay: name, vni: vxlan.vni, vtep, port: Number(vxlan.port), mtu: vxlan.mtu, path, host: hostPath };
}

/** What a vxlan device without a local address tells of where its packets go. */
async function unsaid(host: Rtnl, { group, port, device }: Link): Promise<UnderlayQuestion> {
  const lower = device === undefined ? undefined : (await host.links.list()).find(({ index }) => index === device);
  // Without a remote it is a device of IPv4 (vxlan_nl2conf).
  return { port: Number(port), peer: group, family: group === undefined ? 4 : ipFamily(group), link: lower?.name };
}

/**
 * The namespace that the vxlan device is linked to, by its id: the caller's, pid 1's, or a named one.
 * @throws OvernsError `OVERNS_HOST` when none matches
 */
async function findHost(name: string, rtnl: Rtnl, vxlan: Link): Promise<string> {
  const wanted = vxlan.linkNetnsid;
  const named = (await listNetns()).map((each) => join(netnsDirectory(), each));
  for (const path of ['/proc/self/ns/net', '/proc/1/ns/net', ...named]) {
    const id = await rtnl.nsid({ path }).catch(() => -1);
    if (wanted !== undefined && id === wanted) return path;
  }
  throw new OvernsError(
    'OVERNS_HOST',
    `the host of overlay "${name}" cannot be found: its ${VXLAN} is linked to a namespace without a name`,
    {
      hint: 'name it with host (--host)',
    },
  );
}
