/** Stage of the demo: hosts, overlays and containers, made from nothing and removed again. */
import { join } from 'node:path';
import { throwIfAborted } from '../../core/abort.js';
import { Overlay, type OwnedStore, openStore, type RecordStore, Resolver, Rtnl, type System } from '../../index.js';
import { netnsDirectory } from '../../netns/references.js';
import { expandStoreUrl, inProcessUrl, recordsOf } from '../../store/index.js';
import { kernel } from '../../system/kernel-error.js';
import type { Context } from '../verb.js';
import type { Story } from './story.js';
import type { Container, DemoOptions, Host } from './subjects.js';

const VNI = 42;
/** How long taking back what was published may take altogether, milliseconds: the store may be gone by then. */
const WITHDRAW_MS = 5000;

interface Removal {
  readonly what: string;
  readonly run: (late: AbortSignal) => Promise<unknown>;
}

export class Scene {
  readonly system: System;
  readonly storeUrl: string;
  readonly containers: Container[] = [];
  /** Prefix of the names of all its namespaces. */
  readonly #prefix = `overns-demo-${process.pid}-`;
  readonly #count: number;
  readonly #story: Story;
  readonly #signal: AbortSignal;
  /** In the order in which things were made. */
  readonly #removals: Removal[] = [];
  #resolver: Resolver | undefined;

  constructor({ hosts, store }: DemoOptions, story: Story, { signal, system }: Pick<Context, 'signal' | 'system'>) {
    this.system = system;
    this.#count = hosts;
    // A folder of its own: what a real store has under PREFIX may be in use.
    this.storeUrl =
      store === undefined
        ? inProcessUrl()
        : `${expandStoreUrl(store, { name: 'demo', vni: VNI })}/overns-demo-${process.pid}`;
    this.#story = story;
    this.#signal = signal;
  }

  /** Built, and served. */
  get resolver(): Resolver {
    if (this.#resolver === undefined) throw new Error('the scene is not built');
    return this.#resolver;
  }

  async build(): Promise<void> {
    const hosts = await this.#makeHosts();
    const overlays = await this.#makeOverlays(hosts);
    const store = await openStore(this.storeUrl, { signal: this.#signal });
    this.#made('the connection to the store', () => store.close());
    await this.#attachContainers(hosts, overlays, store);
    await this.#startResolver(overlays, store);
  }

  /** Removes everything, last made first. Returns what could not be removed. */
  async remove(): Promise<readonly string[]> {
    const left: string[] = [];
    const late = AbortSignal.timeout(WITHDRAW_MS);
    for (const { what, run } of this.#removals.splice(0).reverse()) {
      await run(late).catch((error: Error) => left.push(`${what}: ${error.message}`));
    }
    return left;
  }

  #made(what: string, run: Removal['run']): void {
    this.#removals.push({ what, run });
  }

  #rtnl(netns: string): Promise<Rtnl> {
    return Rtnl.open({ netns, system: this.system });
  }

  /** A namespace with its loopback up. */
  async #namespace(name: string): Promise<string> {
    throwIfAborted(this.#signal);
    const path = join(netnsDirectory(), this.#prefix + name);
    await kernel({ what: `make namespace ${path}` }, this.system.native.createNetns(path));
    this.#made(`namespace ${path}`, () => this.system.native.deleteNetns(path));
    await using rtnl = await this.#rtnl(path);
    await rtnl.links.set({ name: 'lo', up: true });
    return path;
  }

  async #makeHosts(): Promise<Host[]> {
    const direct = this.#count === 2;
    this.#story.stage(
      'Hosts',
      `network namespaces in place of machines, joined by ${direct ? 'a cable' : 'a switch'}: the underlay`,
    );
    const hosts: Host[] = [];
    for (let at = 0; at < this.#count; at++) {
      const name = `host${at + 1}`;
      hosts.push({ name, ip: `10.0.0.${10 + at}`, netns: await this.#namespace(name) });
    }
    await (direct ? this.#layCable(hosts) : this.#setUpSwitch(hosts));
    for (const { name, ip, netns } of hosts) {
      throwIfAborted(this.#signal);
      await using rtnl = await this.#rtnl(netns);
      await rtnl.addresses.add({ link: 'under0', address: `${ip}/24` });
      await rtnl.links.set({ name: 'under0', up: true });
      this.#story.step(name, `${ip} on under0`);
    }
    return hosts;
  }

  async #layCable(hosts: readonly Host[]): Promise<void> {
    const [one, other] = hosts as readonly [Host, Host];
    await using rtnl = await this.#rtnl(one.netns);
    await rtnl.links.add({ kind: 'veth', name: 'under0', peer: { name: 'under0', netns: other.netns } });
  }

  async #setUpSwitch(hosts: readonly Host[]): Promise<void> {
    const netns = await this.#namespace('switch');
    await using rtnl = await this.#rtnl(netns);
    await rtnl.links.add({ kind: 'bridge', name: 'switch0', mcastSnooping: false, up: true });
    for (const host of hosts) {
      const peer = { name: 'under0', netns: host.netns };
      await rtnl.links.add({ kind: 'veth', name: host.name, master: 'switch0', up: true, peer });
    }
  }

  async #makeOverlays(hosts: readonly Host[]): Promise<Overlay[]> {
    this.#story.stage('Overlays', 'a bridge and a VXLAN device for each host: one network across all of them');
    const overlays: Overlay[] = [];
    for (const host of hosts) {
      const overlay = await Overlay.create({
        name: `${this.#prefix}${host.name.replace('host', 'overlay')}`,
        vni: VNI,
        address: '192.168.0.1/24',
        host: host.netns,
        signal: this.#signal,
        system: this.system,
      });
      this.#made(`overlay ${overlay.name}`, () => overlay.delete());
      overlays.push(overlay);
      this.#story.step(host.name, `VNI ${overlay.vni} over ${overlay.vtep}, MTU ${overlay.mtu}`);
    }
    return overlays;
  }

  async #attachContainers(hosts: readonly Host[], overlays: readonly Overlay[], store: OwnedStore): Promise<void> {
    this.#story.stage('Containers', 'a namespace each, attached to the overlay of its host and published in a store');
    this.#story.step('store', this.storeUrl === inProcessUrl() ? 'in the memory of this process' : this.storeUrl);
    for (const [at, host] of hosts.entries()) {
      const overlay = overlays[at] as Overlay;
      const name = host.name.replace('host', 'container');
      const netns = await this.#namespace(name);
      const { ip, mac } = await overlay.attach(netns, {
        address: `192.168.0.${2 + at}/24`,
        store,
        signal: this.#signal,
      });
      if (at === 0) this.#made('what the store keeps beside records', (late) => forgetAll(store, late));
      this.#made(`the record of ${ip}`, (late) => overlay.detach({ ip }, { store, signal: late }));
      this.containers.push({ name, ip, mac, netns, host, overlay });
      this.#story.step(name, `${ip}, ${mac}, on ${host.name}`);
    }
  }

  async #startResolver(overlays: readonly Overlay[], store: OwnedStore): Promise<void> {
    this.#story.stage('Resolver', 'answers the kernel whenever it asks who has an address, and where');
    const resolver = await Resolver.start({ overlays, store, signal: this.#signal, system: this.system });
    this.#made('the resolver', () => resolver.close());
    this.#resolver = resolver;
    this.#story.step('ready', `serves ${overlays.length} overlays from one thread`);
  }
}

/** Deletes what a store keeps of a network that has no records any more. */
async function forgetAll(store: OwnedStore, signal: AbortSignal): Promise<void> {
  let records: RecordStore;
  try {
    records = recordsOf(store);
  } catch {
    return; // it keeps no records
  }
  await records.forget?.({ signal });
}
