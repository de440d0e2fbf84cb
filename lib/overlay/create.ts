/** Making an overlay: its namespace, its bridge and its vxlan device, or finding the one that is there. */
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import type { Cancel } from '../core/abort.js';
import { checkSignal, throwIfAborted } from '../core/abort.js';
import {
  type Cidr,
  checkMtu,
  checkOverlayName,
  checkPort,
  checkVni,
  formatCidr,
  ipFamily,
  MTU_MIN,
  VXLAN_OVERHEAD,
  VXLAN_PORT,
  vtepIp,
} from '../core/address.js';
import { invalidArgument, OvernsError } from '../core/errors.js';
import { boolean, checkOptions, type Shape, type Values } from '../core/options.js';
import { type Transaction, transaction } from '../core/transaction.js';
import { lockNamespace } from '../netns/lock.js';
import type { NetnsRef } from '../netns/references.js';
import { netnsDirectory, netnsIdentity, netnsPath, netnsReference } from '../netns/references.js';
import { Rtnl } from '../rtnl/rtnl.js';
import { kernel } from '../system/kernel-error.js';
import { checkSystem, machine, type OnSystem, type System } from '../system/system.js';
import { contentsOf, isBridge, isPort, nameTaken } from './contents.js';
import { removeNamespace } from './delete.js';
import { BRIDGE, VXLAN } from './devices.js';
import { differsFrom, refuseDifferences } from './differences.js';
import { type Entered, enter, settled, there } from './namespace.js';
import { sayWhoHasIt } from './port-holder.js';
import { checkAddresses, givenAddresses } from './ports/container-network.js';
import { type OpenedOverlay, type OverlayState, readState } from './state.js';
import { findUnderlay } from './underlay.js';

/** How long a namespace may be on its way, milliseconds. */
const PATIENCE_MS = 2000;
/** How long somebody else's turn in a namespace that was made here is waited for before it is left to him, milliseconds. */
const SHORTLY_MS = 50;

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
export interface OverlayOptions extends Cancel, OnSystem {
  /** The overlay's name, which becomes a namespace in /run/netns. */
  readonly name: string;
  /** VXLAN network identifier, 1 to 2^24-1 (RFC 7348). */
  readonly vni: number;
  /** Addresses of br0 with prefix lengths: the gateway's, the same on every host. Default: none. */
  readonly address?: string | readonly string[] | undefined;
  /** UDP port, 1 to 65535. Default 4789 (IANA). */
  readonly port?: number | undefined;
  /**
   * Let vxlan1 learn from frames where MAC addresses are, for a network that hosts of other makes share whose containers are
   * in no store. Whoever can send packets to this host can then say where a container is, until the store is asked. Default
   * false: where MAC addresses are the store says alone.
   */
  readonly learning?: boolean | undefined;
  /** Bytes. Default `auto`: the underlay's less the VXLAN overhead (50; 70 over IPv6). */
  readonly mtu?: number | 'auto' | undefined;
  /** The host's underlay address. Default: that of the route out of the host, else its only global one. */
  readonly vtep?: string | undefined;
  /** The namespace that is the host. Default: the caller's. */
  readonly host?: NetnsRef | undefined;
}

const createOptions = {
  name: [checkOverlayName],
  vni: [checkVni],
  address: checkAddresses,
  port: checkPort,
  learning: boolean,
  mtu: (value, name) => (value === 'auto' ? value : checkMtu(value, name)),
  vtep: vtepIp,
  host: netnsReference,
  signal: checkSignal,
  system: checkSystem,
} satisfies Shape;

type Creation = Values<typeof createOptions>;

function checkCreation(options: OverlayOptions): Creation {
  const checked = checkOptions(options, createOptions);
  const { address = [], mtu } = checked;
  if (typeof mtu === 'number' && address.some(({ family }) => family === 6)) checkMtu(mtu, 'mtu', 6);
  return checked;
}

/** Makes an overlay: all of it, or nothing. */
export async function createOverlay(options: OverlayOptions): Promise<OpenedOverlay> {
  return make(checkCreation(options), false);
}

/** Makes an overlay, or finds the one that is there if it is the same. */
export async function ensureOverlay(options: OverlayOptions): Promise<OpenedOverlay> {
  const checked = checkCreation(options);
  return settled(checked.name, PATIENCE_MS, checked.signal, () => make(checked, true));
}

async function make(wanted: Creation, ensure: boolean): Promise<OpenedOverlay> {
  const { signal, system = machine, name, vni, port = VXLAN_PORT, learning = false } = wanted;
  throwIfAborted(signal);
  const hostPath = await netnsPath(system, wanted.host, 'host');
  const host = await Rtnl.open({ netns: wanted.host, signal, system });
  try {
    const path = join(netnsDirectory(), name);
    const before = await netnsIdentity(system, path).catch(() => undefined);
    // One that is there needs no underlay: it may have changed since.
    let underlay = ensure && before !== undefined ? undefined : await measure(host, wanted);
    return await transaction(signal, async (t) => {
      const claim = await claimNamespace(t, system, path, name, ensure, signal);
      const { rtnl, identity } = claim;
      const state = await findOverlay(claim, path, hostPath, wanted, ensure);
      if (state !== undefined) {
        claim.unlock();
        return { state, rtnl, identity };
      }
      underlay ??= await measure(host, wanted);
      const { vtep, mtu, vrf } = underlay;
      const bridge = await setUpBridge(t, rtnl, { name, mtu, addresses: wanted.address });
      await t.step(
        VXLAN,
        () =>
          // One message on a socket of the host: made in the overlay, linked to the host's sockets and routes.
          host.links
            .add({
              kind: 'vxlan',
              name: VXLAN,
              netns: { path },
              masterIndex: bridge,
              up: true,
              mtu,
              vni,
              port,
              local: vtep,
              device: vrf,
              proxy: true,
              learning,
              l2miss: true,
              l3miss: true,
            })
            .catch(async (error) => {
              throw await sayWhoHasIt(error, { host, hostPath, vni, port, own: path });
            }),
        () => rtnl.links.delete({ name: VXLAN }),
      );
      claim.unlock();
      return { state: { overlay: name, vni, vtep, port, mtu, path, host: hostPath }, rtnl, identity };
    });
  } finally {
    await host.close();
  }
}

/** A namespace that this process alone changes for now. */
interface Claim extends Entered {
  unlock(): void;
  /** Leaves the namespace alone when the transaction is undone: it is somebody else's. */
  disown(): void;
}

/** Makes the namespace, or takes the one that is there if it may be, and waits for the turn to change it. */
async function claimNamespace(
  t: Transaction,
  system: System,
  path: string,
  name: string,
  ensure: boolean,
  signal: AbortSignal | undefined,
): Promise<Claim> {
  let mine = false;
  // An overlay that is created has to stay; one that is ensured is looked at again.
  const meanwhile = <T>(run: () => Promise<T>): Promise<T> => (ensure ? there(run) : run());
  await t.step(
    'namespace',
    async () => {
      try {
        await makeNamespace(system, path, name);
        mine = true;
      } catch (error) {
        if (!ensure || (error as OvernsError).code !== 'EEXIST') throw error;
      }
    },
    async () => {
      if (mine) await removeUnlessTaken(system, path, name);
    },
  );
  const { rtnl, identity } = await t.step(
    'socket',
    () => meanwhile(() => enter(system, path, undefined)),
    (entered) => entered.rtnl.close(),
  );
  const unlock = await t.step(
    'turn',
    () => meanwhile(() => lockNamespace(system, path, signal, identity)),
    async (release) => {
      // Before the next one's turn: it would work in a namespace that is losing its name.
      try {
        if (mine) await removeNamespace(system, path, name);
      } finally {
        mine = false;
        release();
      }
    },
  );
  return {
    rtnl,
    identity,
    unlock,
    disown: () => {
      mine = false;
    },
  };
}

/** Removes a namespace that was made here, unless somebody who ensures it has the turn, or has used it, already. */
async function removeUnlessTaken(system: System, path: string, name: string): Promise<void> {
  let release = (): void => {};
  try {
    release = await lockNamespace(system, path, AbortSignal.timeout(SHORTLY_MS));
    await using rtnl = await Rtnl.open({ netns: { path }, system });
    if (contentsOf(await rtnl.links.list()) !== 'empty') return;
  } catch (error) {
    // Without a descriptor nothing can be seen; what was just made is most likely as it was.
    if (!['EMFILE', 'ENFILE'].includes((error as OvernsError).code)) return;
  } finally {
    release();
  }
  await removeNamespace(system, path, name);
}

/**
 * Finds the overlay that is in the namespace already, if `ensure` allows one; undefined where it, or what is left of one
 * whose maker or remover has died, has to be completed.
 * @throws OvernsError `EEXIST` where the namespace is taken otherwise
 */
async function findOverlay(
  { rtnl, disown }: Claim,
  path: string,
  hostPath: string,
  wanted: Creation,
  ensure: boolean,
): Promise<OverlayState | undefined> {
  const { name, vni, port = VXLAN_PORT, learning, address: addresses, mtu = 'auto', vtep } = wanted;
  const links = await rtnl.links.list();
  const contents = contentsOf(links);
  if (contents === 'empty') return undefined;
  // Somebody's since before, or one that has ensured it was quicker.
  disown();
  if (!ensure) throw await nameTaken(name, rtnl);
  if (contents === 'overlay') {
    await refuseDifferences(rtnl, links, { name, vni, port, learning, addresses, mtu, vtep, host: hostPath });
    return await readState(name, path, rtnl, wanted.host);
  }
  if (contents === 'other') throw await nameTaken(name, rtnl);
  // Nobody else is at work: whoever was has died.
  return undefined;
}

interface BridgeRequest {
  readonly name: string;
  readonly mtu: number;
  readonly addresses: readonly Cidr[] | undefined;
}

/**
 * Makes br0 with its addresses; gives its index. Containers that are left of an overlay which lost its vxlan1 stay
 * attached to it.
 * @throws OvernsError `EEXIST` where what is left does not fit
 */
async function setUpBridge(
  t: Transaction,
  rtnl: Rtnl,
  { name, mtu, addresses }: BridgeRequest,
): Promise<number | undefined> {
  const links = await rtnl.links.list();
  const ports = links.filter(isPort);
  const texts = (addresses ?? []).map(formatCidr);
  let present: readonly string[] = [];
  if (links.some(isBridge)) {
    present = (await rtnl.addresses.list({ link: BRIDGE })).map(({ address }) => address);
    const others = givenAddresses(present, texts).filter((address) => !texts.includes(address));
    if (ports.length === 0) {
      for (const address of others) await rtnl.addresses.delete({ link: BRIDGE, address });
    } else {
      const odd = ports.find((port) => port.mtu !== mtu);
      const differences = [
        ...(addresses === undefined ? [] : others.map((address) => `${BRIDGE} has ${address}`)),
        ...(odd === undefined ? [] : [`its containers have mtu ${odd.mtu} instead of ${mtu}`]),
      ];
      if (differences.length > 0) throw differsFrom(name, differences);
    }
    await rtnl.links.set({ name: BRIDGE, up: true });
  } else {
    await t.step(
      BRIDGE,
      () =>
        // Without snooping: IPv6 solicitations must reach vxlan1 (an MLD querier would keep them from it).
        rtnl.links.add({ kind: 'bridge', name: BRIDGE, mac: randomMac(), mcastSnooping: false, up: true }),
      () => rtnl.links.delete({ name: BRIDGE }),
    );
  }
  const missing = texts.filter((address) => !present.includes(address));
  if (missing.length > 0) {
    await t.step('addresses', async () => {
      for (const address of missing) await rtnl.addresses.add({ link: BRIDGE, address, nodad: true });
    });
  }
  for (const port of ports) {
    if (port.master === undefined) await rtnl.links.set({ name: port.name, master: BRIDGE });
  }
  const [bridge] = await rtnl.links.list({ kind: 'bridge', name: BRIDGE });
  return bridge?.index;
}

/** Measures what the underlay leaves for an overlay. */
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

/** Makes a namespace under its name; a name that is taken is told apart from other failures. */
async function makeNamespace(system: System, path: string, name: string): Promise<void> {
  try {
    await kernel({ what: `make namespace ${path}`, request: { name } }, system.native.createNetns(path));
  } catch (error) {
    if (!OvernsError.is(error) || error.code !== 'EEXIST') throw error;
    await using rtnl = await Rtnl.open({ netns: { path }, system }).catch(() => undefined);
    throw await nameTaken(name, rtnl, error);
  }
}

/**
 * Makes an address for br0 of its own. Without one it would take that of its lowest port, and change as containers come
 * and go.
 */
function randomMac(): string {
  const bytes = randomBytes(6);
  bytes[0] = ((bytes[0] as number) & 0xfc) | 0x02; // unicast, locally administered
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join(':');
}
