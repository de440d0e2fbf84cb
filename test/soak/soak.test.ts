/**
 * Random attachments, detachments and moves of forty containers on four hosts, and kills of stores and agents, with pings that
 * never stop: `npm run soak -- --minutes N --seed S`. After each step everybody reaches whom they should, the kernels have what is so,
 * nothing has grown, and no flow that a step does not concern has lost a packet.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from 'vitest';
import { testWith } from '../support/requirements.js';
import { type Container, Flow, type SoakStore, type Station, startConsul, startEtcd, World } from './world.js';

const { minutes, seed, hosts, containers } = JSON.parse(process.env.OVERNS_SOAK ?? '{}') as Record<string, number>;
/** How long one store is used, milliseconds, at most. */
const ROUND_MS = 120_000;
const STEPS_SHOWN = 25;
const FLOWS = 12;

/** The same numbers for the same seed (mulberry32). */
function randomFrom(start: number): (below: number) => number {
  let state = start >>> 0;
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let word = Math.imul(state ^ (state >>> 15), state | 1);
    word ^= word + Math.imul(word ^ (word >>> 7), word | 61);
    return Math.floor((((word ^ (word >>> 14)) >>> 0) / 2 ** 32) * below);
  };
}

class Soak {
  readonly #world: World;
  readonly #random: (below: number) => number;
  readonly #steps: string[] = [];
  readonly #began = performance.now();
  readonly counts = new Map<string, number>();
  #flows: Flow[] = [];

  constructor(world: World, random: (below: number) => number) {
    this.#world = world;
    this.#random = random;
  }

  #pick<T>(of: readonly T[]): T {
    return of[this.#random(of.length)] as T;
  }

  #say(kind: string, words: string): void {
    this.counts.set(kind, (this.counts.get(kind) ?? 0) + 1);
    this.#steps.push(`${((performance.now() - this.#began) / 1000).toFixed(1)} s ${kind} ${words}`);
    if (this.#steps.length > STEPS_SHOWN) this.#steps.shift();
    this.#world.step = `${kind} ${words}`;
  }

  /** What happened last, and what the agents said, for whoever looks for the cause. */
  story(): string {
    const agents = this.#world.stations.map(
      ({ overlay, agent }) => `agent of ${overlay.vtep}:\n${agent?.stderr.split('\n').slice(-15).join('\n')}`,
    );
    return [`seed ${seed}`, ...this.#steps, ...agents].join('\n');
  }

  /** With one store, which begins empty: the agents publish all there is. */
  async round(store: SoakStore, ms: number): Promise<void> {
    const { stations } = this.#world;
    const url = store.url();
    this.#say('round', url);
    for (const station of stations) await station.stopAgent();
    await Promise.all(stations.map((station) => station.startAgent(url)));
    // Before that, what a host has might be handed out to another one.
    await this.#world.published(url);
    const until = performance.now() + ms;
    for (const container of this.#world.containers) {
      if (container.at === undefined && this.#random(4) > 0) await this.#world.attach(container, this.#pick(stations));
    }
    await this.#world.reach(this.#ring());
    await this.#newFlows();
    await sleep(1000);
    await this.#world.flat();
    while (performance.now() < until) await this.#step(store, url);
    await this.#world.reach(this.#mesh());
    await this.#stopFlows();
  }

  async #step(store: SoakStore, url: string): Promise<void> {
    const { containers: all, stations, attached } = this.#world;
    const kind = this.#random(10);
    let touched: Container | undefined;
    let unsettled = false;
    if (kind < 7) touched = this.#pick(all);
    if (touched?.at !== undefined && kind === 0) await this.#moveUnheard(touched, url);
    else if (touched?.at !== undefined && kind < 4) await this.#move(touched);
    else if (touched?.at !== undefined && attached.length > all.length / 2) await this.#detach(touched);
    else if (touched?.at === undefined && touched !== undefined) await this.#attach(touched);
    else if (kind < 9) await this.#killAgent(this.#pick(stations), url);
    else {
      await this.#killStore(store);
      unsettled = !store.keeps;
    }
    await this.#lossless(touched, unsettled);
    await this.#world.reach([...this.#ring(), ...this.#aroundOf(touched)]);
    await this.#world.entries();
    await this.#world.published(url);
    await this.#world.believed();
    await this.#world.flat();
    if (touched !== undefined) await this.#restartFlows(touched);
    await this.#forgive();
  }

  async #attach(container: Container): Promise<void> {
    const station = this.#pick(this.#world.stations);
    this.#say('attach', `${container.name} at ${station.overlay.vtep}`);
    await this.#world.attach(container, station);
  }

  async #detach(container: Container): Promise<void> {
    this.#say('detach', this.#world.words(container));
    const ip = container.endpoint?.ip as string;
    await this.#world.detach(container);
    await this.#world.silent(ip, this.#world.attached.slice(0, 3));
  }

  /** While the agent of somebody who talks to it is down: what that one sends comes by way of the old host. */
  async #moveUnheard(container: Container, url: string): Promise<void> {
    const to = this.#pick(this.#world.stations.filter((station) => station !== container.at));
    const peers = this.#world.attached.filter(({ at }) => at !== container.at && at !== to);
    if (peers.length === 0) return this.#move(container, to);
    const peer = this.#pick(peers);
    await this.#world.reach([[peer, container]]);
    this.#say('kill-agent', `of ${peer.at?.overlay.vtep}, which does not hear of what follows`);
    await peer.at?.killAgent();
    await this.#move(container, to);
    await this.#world.reach([[peer, container]]);
    await peer.at?.startAgent(url);
  }

  async #move(
    container: Container,
    to = this.#pick(this.#world.stations.filter((station) => station !== container.at)),
  ): Promise<void> {
    this.#say('move', `${this.#world.words(container)} to ${to.overlay.vtep}`);
    const { ip, mac } = container.endpoint as NonNullable<Container['endpoint']>;
    await this.#world.detach(container);
    await this.#world.attach(container, to, `${ip}/24`, mac);
  }

  async #killAgent(station: Station, url: string): Promise<void> {
    const ms = this.#random(4000);
    this.#say('kill-agent', `of ${station.overlay.vtep} for ${ms} ms`);
    await station.killAgent();
    await sleep(ms);
    await station.startAgent(url);
  }

  async #killStore(store: SoakStore): Promise<void> {
    const ms = this.#random(5000);
    this.#say('kill-store', `${store.kind} for ${ms} ms`);
    store.kill();
    await sleep(ms);
    await store.restart();
  }

  /** Each reaches the next one. */
  #ring(): [Container, Container][] {
    const { attached } = this.#world;
    return attached.map((from, at) => [from, attached[(at + 1) % attached.length] as Container]);
  }

  #mesh(): [Container, Container][] {
    const { attached } = this.#world;
    return attached.flatMap((from) =>
      attached.flatMap((to): [Container, Container][] => (from === to ? [] : [[from, to]])),
    );
  }

  /** To one, and from it. */
  #aroundOf(one: Container | undefined): [Container, Container][] {
    if (one?.at === undefined) return [];
    return this.#world.attached.flatMap((other): [Container, Container][] =>
      other === one
        ? []
        : [
            [one, other],
            [other, one],
          ],
    );
  }

  /** @param unsettled the store has lost all: what is promised then is checked by others */
  async #lossless(touched: Container | undefined, unsettled: boolean): Promise<void> {
    const untouched = this.#flows.filter((flow) => !(touched && flow.concerns(touched)));
    const lost = await Promise.all(untouched.map(async (flow) => [flow, await flow.lost()] as const));
    const losing = lost.filter(([, count]) => count > 0);
    if (unsettled || losing.length === 0) return;
    const words = losing.map(
      ([{ from, to }, count]) => `${count} from ${this.#world.words(from)} to ${this.#world.words(to)}`,
    );
    throw new Error(`flows that nobody touched have lost ${words.join(', ')}`);
  }

  /** What was lost until all was settled again is not the next step's. */
  async #forgive(): Promise<void> {
    await Promise.all(this.#flows.map((flow) => flow.lost()));
  }

  async #newFlows(): Promise<void> {
    const pairs = this.#ring();
    this.#flows = Array.from({ length: FLOWS }, () => new Flow(...this.#pick(pairs)));
    await sleep(500);
    await this.#forgive();
  }

  /** Those of a container that has gone, or has another address, begin again with others. */
  async #restartFlows(touched: Container): Promise<void> {
    for (const [at, flow] of this.#flows.entries()) {
      if (!flow.concerns(touched)) continue;
      await flow.stop();
      this.#flows[at] = new Flow(...this.#pick(this.#ring()));
    }
  }

  async #stopFlows(): Promise<void> {
    for (const flow of this.#flows.splice(0)) await flow.stop();
  }
}

const timeout = (minutes as number) * 60_000 * 2 + 300_000;
testWith(
  ['root', 'ip', 'ping', 'consul', 'etcd'],
  `seed ${seed}, ${minutes} minutes`,
  async () => {
    const stores = [await startEtcd(), await startConsul()];
    const world = await World.create(hosts as number, containers as number);
    const soak = new Soak(world, randomFrom(seed as number));
    const fdsBefore = world.stations.length;
    const until = performance.now() + (minutes as number) * 60_000;
    try {
      for (let round = 0; round < 2 || performance.now() < until; round++) {
        const left = until - performance.now();
        const share = round === 0 ? left / 2 : left;
        await soak.round(stores[round % 2] as SoakStore, Math.min(ROUND_MS, share));
      }
    } catch (error) {
      (error as Error).message += `\n${soak.story()}`;
      throw error;
    }
    const times = world.settled.sort((one, other) => one.ms - other.ms);
    const at = (share: number): number => Math.round(times[Math.floor(times.length * share)]?.ms ?? 0);
    const slowest = times.slice(-3).map(({ ms, what, step }) => `${Math.round(ms)} ms for ${what} after ${step}`);
    console.log(`soak: ${[...soak.counts].map(([kind, count]) => `${count} ${kind}`).join(', ')}`);
    console.log(`soak: settled in ms: p50 ${at(0.5)}, p90 ${at(0.9)}, p99 ${at(0.99)}; ${slowest.join(', ')}`);
    expect(world.stations).toHaveLength(fdsBefore);
  },
  timeout,
);
