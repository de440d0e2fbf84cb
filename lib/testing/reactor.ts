/**
 * The resolver thread without a thread: what native/engine decides, as far as a consumer can see it.
 * Left out: rates, bounds of queues, and turns among askers.
 */
import {
  canonicalIp,
  canonicalMac,
  ipBytes,
  ipFamily,
  isLinkLocal6,
  whyNotUnicastIp,
  whyNotUnicastMac,
} from '../core/address.js';
import { parseAlias } from '../overlay/ports/alias.js';
import {
  EVENT_BITS,
  type NativeEvent,
  type NativeLookup,
  type NativeReactor,
  type TableName,
} from '../system/native.js';
import { soon } from './clock.js';
import { type Entry, NTF, NUD } from './entries.js';
import type { Machine } from './machine.js';
import type { FakeNetns } from './netns.js';
import { Refusal } from './refusal.js';
import type { FakeFdbEntry, FakeLink, MissKey, Observer, Outcome, Row } from './tables/table.js';

const BRIDGE = 'br0';
const VXLAN = 'vxlan1';
const ZERO_MAC = '00:00:00:00:00:00';
/** Requests for a neighbour in such a state are dropped without a miss. */
const DECAYED = NUD.stale | NUD.delay | NUD.probe;
const SECOND = 1_000_000_000n;
const MILLISECOND = 1_000_000n;
const ANSWER_TTL_MS = 60_000;
const LO_DOWN = "the host's lo is down";
/** While the store is down an entry stays; looked at again after this. */
const STORE_DOWN_RETRY = 5n * SECOND;

type AddOptions = Parameters<NativeReactor['add']>[1];
type Batch = (events: NativeEvent[], lookups: NativeLookup[], overflow: number) => void;

export class FakeReactor implements NativeReactor {
  readonly #machine: Machine;
  readonly #onBatch: Batch;
  readonly #ports = new Map<number, Port>();
  /** Those to be added: which events are wanted, and what is to be told to them. */
  readonly #expected = new Map<number, { wanted: number; readonly tasks: ((port: Port) => void)[] }>();
  #events: NativeEvent[] = [];
  #lookups: NativeLookup[] = [];
  #due = false;
  #closed = false;
  #lastId = 0;

  constructor(machine: Machine, onBatch: Batch) {
    this.#machine = machine;
    this.#onBatch = onBatch;
  }

  newId(): number {
    const id = ++this.#lastId;
    this.#expected.set(id, { wanted: 0, tasks: [] });
    return id;
  }

  async add(id: number, options: AddOptions): Promise<{ readonly noPunt?: string }> {
    await this.#machine.turn();
    if (this.#closed) throw new Error('the resolver is closed');
    const port = new Port(this.#machine, id, options, {
      event: (event) => this.#say(() => this.#events.push(event)),
      lookup: (lookup) => this.#say(() => this.#lookups.push(lookup)),
    });
    this.#ports.set(id, port);
    const expected = this.#expected.get(id);
    this.#expected.delete(id);
    port.wanted = expected?.wanted ?? 0;
    for (const task of expected?.tasks ?? []) task(port);
    return port.noPunt === undefined ? {} : { noPunt: port.noPunt };
  }

  async remove(id: number): Promise<Record<string, number>> {
    // Behind what has been posted.
    await new Promise<void>((resolve) => this.#machine.later(resolve));
    const port = this.#ports.get(id);
    const counted = this.stats(id);
    this.#ports.delete(id);
    this.#expected.delete(id);
    port?.close();
    this.#deliver();
    return port ? counted : {};
  }

  reset(id: number, endpoints: readonly string[], unreadable: number[]): Promise<void> {
    const all = triples(endpoints, unreadable);
    return new Promise((resolve) => {
      this.#later(id, (port) => {
        port.onUnreadable(unreadable.length);
        port.reset(all);
      });
      this.#machine.later(resolve);
    });
  }
  put(id: number, endpoints: readonly string[], unreadable: number[]): void {
    const all = triples(endpoints, unreadable);
    this.#later(id, (port) => {
      port.onUnreadable(unreadable.length);
      for (const each of all) port.put(each);
    });
  }
  forget(id: number, key: string): void {
    this.#later(id, (port) => port.forget(key));
  }
  answer(id: number, token: number, key: string, said: Exclude<Said, 'found'>): void;
  answer(id: number, token: number, key: string, said: 'found', mac: string, vtep: string, ttlMs?: number): boolean;
  answer(id: number, token: number, key: string, said: Said, mac = '', vtep = '', ttlMs?: number): boolean {
    const told = { mac, vtep, ttlMs };
    if (said === 'found') {
      try {
        told.mac = canonicalMac(mac);
        told.vtep = canonicalIp(vtep);
      } catch {
        return false;
      }
    }
    this.#later(id, (port) => port.answer(token, key, said, told));
    return true;
  }
  storeDown(id: number, down: boolean): void {
    this.#later(id, (port) => {
      port.storeDown = down;
    });
  }
  want(id: number, mask: number): void {
    const told = this.#ports.get(id) ?? this.#expected.get(id);
    if (told) told.wanted = mask;
  }
  stats(id: number): Record<string, number> {
    return { ...this.#ports.get(id)?.stats, endpoints: this.#ports.get(id)?.endpoints ?? 0 };
  }
  realtime(): boolean {
    return false; // as where SCHED_FIFO is not permitted
  }
  ref(): void {}
  unref(): void {}

  close(): void {
    this.#closed = true;
    for (const port of this.#ports.values()) port.close();
    this.#ports.clear();
  }

  /** In another thread's turn, in order. */
  #later(id: number, run: (port: Port) => void): void {
    this.#machine.later(() => {
      const port = this.#ports.get(id);
      if (port) run(port);
      else this.#expected.get(id)?.tasks.push(run);
    });
  }

  #say(add: () => unknown): void {
    add();
    if (this.#due) return;
    this.#due = true;
    this.#machine.later(() => this.#deliver());
  }

  #deliver(): void {
    this.#due = false;
    const [events, lookups] = [this.#events, this.#lookups];
    this.#events = [];
    this.#lookups = [];
    if (!this.#closed && events.length + lookups.length > 0) this.#onBatch(events, lookups, 0);
  }
}

interface Triple {
  readonly ip: string;
  readonly mac: string;
  readonly vtep: string;
}

/** What cannot be read is left out, and its number added to `unreadable`. */
function triples(flat: readonly unknown[], unreadable: number[]): Triple[] {
  const found: Triple[] = [];
  for (let at = 0; at + 2 < flat.length; at += 3) {
    try {
      found.push({ ip: canonicalIp(flat[at]), mac: canonicalMac(flat[at + 1]), vtep: canonicalIp(flat[at + 2]) });
    } catch {
      unreadable.push(at / 3);
    }
  }
  return found;
}

type Said = 'found' | 'absent' | 'timeout' | 'error';

interface Slot {
  readonly mac: string;
  readonly vtep: string;
  /** Undefined: it has no TTL. */
  readonly expires: bigint | undefined;
  readonly watched: boolean;
  marked: boolean;
  programmed: boolean;
}

interface Ask {
  state: 'idle' | 'looking' | 'queued' | 'absent';
  token: number;
  /** Of the lookup's answer. */
  ttlMs: number | undefined;
  missAt: bigint;
  /** Until when it is known to be absent. */
  expires: bigint;
  /** The lookup under way, by a deletion. */
  overtaken: boolean;
  /** Called once it is known what became of it. */
  readonly waiting: ((outcome: Outcome) => void)[];
}

/** Where packets for unknown MACs go, and the secret that they bear in the place of the VNI. */
interface Punt {
  readonly address: string;
  readonly port: number;
  readonly vni: number;
}

/** Where a port's news go. */
interface Out {
  event(event: NativeEvent): void;
  lookup(lookup: NativeLookup): void;
}

/** One overlay while it is served. */
class Port implements Observer {
  readonly stats: Record<string, number> = {
    misses: 0,
    answers: 0,
    coalesced: 0,
    negative: 0,
    rejected: 0,
    overruns: 0,
    lookups: 0,
    local: 0,
    replayed: 0,
    shed: 0,
    dropped: 0,
    forwarded: 0,
    packetsDropped: 0,
    floodDropped: 0,
    withdrawalsRefused: 0,
    unreadable: 0,
    lookupsAbandoned: 0,
  };
  /** Why packets were not caught when it was added. */
  readonly noPunt: string | undefined;
  storeDown = false;
  wanted = 0;
  readonly #machine: Machine;
  readonly #id: number;
  readonly #netns: FakeNetns;
  readonly #options: AddOptions;
  readonly #out: Out;
  readonly #ips = new Map<string, Slot>();
  readonly #macs = new Map<string, Slot>();
  readonly #asks = new Map<string, Ask>();
  readonly #queue: string[] = [];
  readonly #locals = new Map<number, { readonly ips: readonly string[]; readonly mac: string }>();
  readonly #alarm: { set(at: bigint | undefined): void };
  readonly #punt: Punt | undefined;
  /** While the host's lo is down nothing arrives over it. */
  readonly #loWatch: Observer = { onLink: (link) => this.#onHostLink(link) };
  #loUp = false;
  /** The host's namespace; its addresses are no other host's VTEP. */
  readonly #host: FakeNetns | undefined;
  #vxlan: FakeLink | undefined;
  #lookups = 0;
  #lastToken = 0;
  #closed = false;

  constructor(machine: Machine, id: number, options: AddOptions, out: Out) {
    this.#machine = machine;
    this.#id = id;
    this.#options = options;
    this.#out = out;
    this.#netns = machine.find(options.netns);
    for (const name of [VXLAN, BRIDGE]) {
      if (this.#netns.link(name) === undefined) throw new Refusal('ENODEV', 'RTM_GETLINK', { on: name });
    }
    this.#vxlan = this.#netns.link(VXLAN) as FakeLink;
    const hostPath = options.hostNetns;
    if (hostPath !== undefined) this.#host = machine.find(hostPath);
    else if (options.punt !== false) this.#host = machine.own;
    this.#alarm = machine.clock.alarm(() => this.#expire());
    this.#netns.observers.add(this);
    machine.hold(this.#netns);
    for (const link of this.#netns.links) this.#seeAlias(link, false);
    for (const each of [...this.#netns.neighbors]) {
      if (each.link === this.#vxlan && (each.state & (DECAYED | NUD.failed)) !== 0) this.#withdraw(each.ip, undefined);
      if (each.link !== this.#vxlan || each.state !== NUD.permanent || each.mac === undefined) continue;
      if (whyNotUnicastIp(each.ip) !== undefined) continue;
      if (this.#isLocal(each.ip) || this.#macFault(each.mac) !== undefined) {
        this.#withdraw(each.ip, undefined);
        continue;
      }
      const expires = this.#now() + BigInt(ANSWER_TTL_MS) * MILLISECOND;
      this.#ips.set(each.ip, { mac: each.mac, vtep: '', expires, watched: false, marked: false, programmed: true });
    }
    if (options.punt === false) {
      this.noPunt = 'switched off';
    } else {
      const address = ipFamily(options.vtep) === 4 ? '127.0.0.1' : '::1';
      // Below 1024, as only the privileged may bind it; and what a secret is there is no secret here.
      this.#punt = { address, port: 1023 - (id % 400), vni: 0xfa_ce00 + (id % 200) };
      this.#vxlan.info.localbypass = false;
      this.#loUp = this.#host?.link('lo')?.up === true;
      if (this.#loUp) this.#addPunt();
      else this.noPunt = LO_DOWN;
      this.#host?.observers.add(this.#loWatch);
    }
    this.#arm();
  }

  get endpoints(): number {
    return this.#ips.size;
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#netns.observers.delete(this);
    this.#host?.observers.delete(this.#loWatch);
    this.#alarm.set(undefined);
    if (this.#catches) this.#removePunt();
    for (const ask of this.#asks.values()) settle(ask, 'unresolved');
    this.#machine.release(this.#netns);
  }

  #now(): bigint {
    return this.#machine.clock.now();
  }

  // --- what the kernel tells ---

  /** The kernel's miss, or a packet that the punt has caught: then nobody else hears of it. */
  onMiss(link: FakeLink, { ip, mac }: MissKey): void {
    if (link !== this.#vxlan) return;
    if (mac !== undefined && this.#catches) this.#emit({ kind: 'miss', queriedMac: mac, missAtNs: this.#now() });
    this.#ask(ip ?? (mac as string));
  }

  /** True while L2 misses come as packets, of which the kernel notifies nobody. */
  catchesL2(link: FakeLink): boolean {
    return link === this.#vxlan && this.#catches;
  }

  get #catches(): boolean {
    return this.#punt !== undefined && this.#loUp && this.#vxlan !== undefined;
  }

  #onHostLink(link: FakeLink): void {
    if (link.name !== 'lo' || link.up === this.#loUp) return;
    if (!link.up && this.#catches) this.#removePunt();
    this.#loUp = link.up;
    if (this.#catches) this.#addPunt();
    if (link.up) this.#emit({ kind: 'punt-on' });
    else this.#emit({ kind: 'punt-off', reason: LO_DOWN, errno: 0 });
  }

  /** What others write and what has decayed keeps the kernel from asking. */
  onNews(kind: TableName, action: 'new' | 'delete', row: Row): void {
    if (kind !== 'neighbor' || action === 'delete' || row.link !== VXLAN) return;
    const entry = this.#vxlan && this.#netns.neighbor(this.#vxlan, row.ip as string);
    if (entry !== undefined && (entry.state & DECAYED) !== 0) this.#withdraw(entry.ip, undefined);
  }

  onUnreadable(addresses: number): void {
    this.stats.unreadable = (this.stats.unreadable ?? 0) + addresses;
  }

  onOverrun(dropped: number): void {
    this.#count('overruns');
    this.#count('dropped', dropped);
    this.#emit({ kind: 'overrun', dropped });
  }

  onLink(link: FakeLink, gone: boolean): void {
    if (gone && link === this.#vxlan) {
      this.#vxlan = undefined;
      for (const slot of [...this.#ips.values(), ...this.#macs.values()]) slot.programmed = false;
      this.#emit({ kind: 'overlay-lost' });
    } else if (!gone && this.#vxlan === undefined && link.name === VXLAN && link.kind === 'vxlan') {
      this.#vxlan = link;
      if (this.#punt) link.info.localbypass = false;
      if (this.#catches) this.#addPunt();
      this.#emit({ kind: 'overlay-back' });
    }
    this.#seeAlias(link, gone);
  }

  /** Somebody has flushed the FDB: the punt is put back. */
  onFdbGone(entry: FakeFdbEntry): void {
    const punt = this.#punt;
    if (!punt || !this.#loUp || this.#closed || entry.link !== this.#vxlan || !this.#netns.links.includes(entry.link))
      return;
    const { mac, dst, port, vni } = entry;
    if (mac === ZERO_MAC && dst === punt.address && port === punt.port && vni === punt.vni) this.#addPunt();
  }

  #seeAlias(link: FakeLink, gone: boolean): void {
    const alias = gone ? undefined : parseAlias(link.alias);
    if (alias === undefined) {
      this.#locals.delete(link.index);
      return;
    }
    const ips = alias.addresses.map((address) => address.split('/')[0] as string);
    this.#locals.set(link.index, { ips, mac: alias.mac });
    // They may have been remote until now.
    this.#withdraw(undefined, alias.mac);
    for (const ip of ips) this.#withdraw(ip, undefined);
  }

  #isLocal(key: string): boolean {
    return this.#isOwn(key) || [...this.#locals.values()].some(({ ips, mac }) => mac === key || ips.includes(key));
  }

  /** The bridge's own: its addresses, and the MAC of it and of its ports. */
  #isOwn(key: string): boolean {
    if (!isMac(key)) return this.#netns.addresses.some(({ link, ip }) => link.name === BRIDGE && ip === key);
    return this.#netns.links.some(
      (link) => link.mac === key && (link.name === BRIDGE || link === this.#vxlan || link.master?.name === BRIDGE),
    );
  }

  #macFault(mac: string): string | undefined {
    if (whyNotUnicastMac(mac) !== undefined) return 'the MAC address is not a unicast one';
    if (this.#isOwn(mac)) return "the MAC address is that of the overlay's bridge or of a port of it";
    if (this.#isLocal(mac)) return 'the MAC address is that of an endpoint on this host';
    return undefined;
  }

  // --- misses ---

  #ask(key: string): void {
    this.#count('misses');
    if ((isMac(key) ? whyNotUnicastMac(key) : whyNotUnicastIp(key)) !== undefined) return;
    if (this.#isLocal(key)) {
      this.#count('local');
      return;
    }
    const ask = this.#askFor(key);
    if (ask.state === 'looking' || ask.state === 'queued') {
      this.#count('coalesced');
      return;
    }
    if (ask.state === 'absent' && this.#now() < ask.expires) {
      this.#count('negative');
      return;
    }
    ask.state = 'idle';
    ask.token = 0;
    ask.ttlMs = undefined;
    ask.missAt = this.#now();
    if (!this.#answerFromTable(key, ask, this.storeDown)) this.#lookUp(key, ask);
  }

  /** What a miss comes to, for those who wait: at once where it is known already. */
  outcome(link: FakeLink, { ip, mac }: MissKey): Promise<Outcome> | undefined {
    if (link !== this.#vxlan) return undefined;
    const key = ip ?? (mac as string);
    if (this.#isLocal(key)) return Promise.resolve('local');
    const ask = this.#asks.get(key);
    if (ask?.state === 'looking' || ask?.state === 'queued') {
      return new Promise((resolve) => ask.waiting.push(resolve));
    }
    if (ask?.state === 'absent' && this.#now() < ask.expires) return Promise.resolve('negative');
    return Promise.resolve(this.#slot(key)?.programmed === true ? 'resolved' : 'unresolved');
  }

  #askFor(key: string): Ask {
    let ask = this.#asks.get(key);
    if (!ask) {
      ask = { state: 'idle', token: 0, ttlMs: undefined, missAt: 0n, expires: 0n, overtaken: false, waiting: [] };
      this.#asks.set(key, ask);
    }
    return ask;
  }

  #slot(key: string): Slot | undefined {
    return isMac(key) ? this.#macs.get(key) : this.#ips.get(key);
  }

  #lookUp(key: string, ask: Ask): void {
    if (isLinkLocal6(key)) {
      this.#absent(ask, 'negative');
      return;
    }
    if (this.#lookups >= (this.#options.maxLookups ?? 256)) {
      ask.state = 'queued';
      this.#queue.push(key);
      return;
    }
    ask.state = 'looking';
    ask.overtaken = false;
    ask.token = ++this.#lastToken;
    this.#lookups++;
    this.#count('lookups');
    this.#out.lookup({ overlay: this.#id, token: ask.token, l3: !isMac(key), key, missAtNs: ask.missAt });
  }

  #answerFromTable(key: string, ask: Ask, stale: boolean): boolean {
    const slot = this.#slot(key);
    if (!slot || slot.vtep === '' || (!stale && slot.expires !== undefined && slot.expires <= this.#now()))
      return false;
    if (slot.vtep === this.#options.vtep) {
      this.#count('local');
      this.#absent(ask, 'local');
    } else {
      this.#program(key, ask, 'table');
    }
    return true;
  }

  #absent(ask: Ask, outcome: Outcome): void {
    ask.state = 'absent';
    ask.expires = this.#now() + BigInt(this.#options.negativeTtlMs ?? 1000) * MILLISECOND;
    settle(ask, outcome);
  }

  answer(token: number, key: string, said: Said, told: { mac: string; vtep: string; ttlMs: number | undefined }): void {
    this.#lookups--;
    const ask = this.#asks.get(key);
    if (ask?.state === 'looking' && ask.token === token) {
      ask.state = 'idle';
      if (ask.overtaken) this.#lookUp(key, ask);
      else if (said === 'found') this.#found(key, ask, told);
      else this.#notFound(key, ask, said);
    }
    while (this.#queue.length > 0 && this.#lookups < (this.#options.maxLookups ?? 256)) {
      const next = this.#queue.shift() as string;
      const queued = this.#asks.get(next);
      if (queued?.state === 'queued') this.#lookUp(next, queued);
    }
  }

  #found(key: string, ask: Ask, told: { mac: string; vtep: string; ttlMs: number | undefined }): void {
    const { vtep, ttlMs } = told;
    const mac = isMac(key) ? key : told.mac;
    if (vtep === this.#options.vtep) {
      this.forget(key);
      this.forget(mac);
      this.#count('local');
      this.#absent(ask, 'local');
      return;
    }
    const fault = this.#macFault(mac) ?? this.#vtepFault(vtep);
    if (fault !== undefined) {
      this.#reject(key, ask, fault, mac, vtep);
      return;
    }
    const expires = this.#now() + BigInt(ttlMs ?? ANSWER_TTL_MS) * MILLISECOND;
    this.#learn(isMac(key) ? undefined : key, { mac, vtep, expires, watched: false, marked: false, programmed: false });
    ask.ttlMs = ttlMs;
    this.#program(key, ask, 'store');
  }

  #notFound(key: string, ask: Ask, said: 'absent' | 'timeout' | 'error'): void {
    const event = { ...this.#about(key, ask), kind: 'unresolved' } as const;
    if (said === 'absent') {
      this.forget(key);
      this.#emit({ ...event, cause: 'absent' });
      this.#absent(ask, 'unresolved');
    } else if (!this.#answerFromTable(key, ask, true)) {
      this.#emit({ ...event, cause: said === 'timeout' ? 'timeout' : 'store-error' });
      settle(ask, 'unresolved');
    }
  }

  #vtepFault(vtep: string): string | undefined {
    if (whyNotUnicastIp(vtep) !== undefined && !isLoopback(vtep)) return 'the VTEP is not a unicast address';
    if (ipFamily(vtep) !== ipFamily(this.#options.vtep)) return 'the VTEP is of the other address family';
    if (isLoopback(vtep)) return 'the VTEP is a loopback address';
    if (isLinkLocal6(vtep)) return "the VTEP is a link-local address, which is every host's own";
    for (const { ip, length } of this.#host?.addresses ?? []) {
      if (vtep === ip && vtep !== this.#options.vtep) return 'the VTEP is another address of this host';
      if (ipFamily(ip) === ipFamily(vtep) && isNobodys(vtep, ip, length))
        return 'the VTEP is the broadcast, network or subnet-router anycast address of a network of this host';
    }
    return undefined;
  }

  #reject(key: string, ask: Ask, reason: string, mac: string, vtep: string, errno = 0): void {
    this.#count('rejected');
    this.#emit({ ...this.#about(key, ask), kind: 'rejected', reason, errno, mac, vtep });
    this.#absent(ask, 'rejected');
  }

  // --- the table ---

  #learn(ip: string | undefined, slot: Slot): void {
    if (ip !== undefined) this.#ips.set(ip, { ...slot, programmed: this.#ips.get(ip)?.programmed === true });
    const before = this.#macs.get(slot.mac);
    if (before?.watched === true && !slot.watched && before.vtep === slot.vtep) return;
    this.#macs.set(slot.mac, { ...slot, programmed: before?.programmed === true });
  }

  put({ ip, mac, vtep }: Triple): void {
    const fault =
      whyNotUnicastIp(ip) === undefined
        ? whyNotUnicastMac(mac) === undefined
          ? this.#vtepFault(vtep)
          : this.#macFault(mac)
        : 'the address is not a unicast one';
    if (fault !== undefined) {
      this.#count('rejected');
      const missAtNs = this.#now();
      this.#emit({ kind: 'rejected', ip, missAtNs, token: 0, reason: fault, errno: 0, mac, vtep });
      return;
    }
    const before = this.#ips.get(ip);
    const moved = before?.programmed === true && (before.mac !== mac || before.vtep !== vtep);
    const beforeMac = this.#macs.get(mac);
    const rehomed = beforeMac?.programmed === true && beforeMac.vtep !== vtep;
    this.#learn(ip, { mac, vtep, expires: undefined, watched: true, marked: true, programmed: false });
    if (vtep === this.#options.vtep) {
      if (before?.programmed === true) this.#withdraw(ip, undefined);
      if (before?.programmed === true || rehomed) this.#withdraw(undefined, mac);
      return;
    }
    if (this.#isLocal(ip)) return;
    for (const [key, changed] of [
      [ip, moved],
      [mac, rehomed && !moved],
    ] as const) {
      const ask = changed ? this.#askFor(key) : this.#asks.get(key);
      if (!ask) continue;
      if (changed || ask.state === 'looking' || ask.state === 'queued') this.#program(key, ask, 'table');
      else ask.state = 'idle';
    }
  }

  forget(key: string): void {
    const ask = this.#asks.get(key);
    if (ask?.state === 'looking') ask.overtaken = true;
    const slot = this.#slot(key);
    if (!slot) return;
    if (slot.programmed) this.#withdraw(isMac(key) ? undefined : key, isMac(key) ? key : undefined);
    (isMac(key) ? this.#macs : this.#ips).delete(key);
  }

  reset(endpoints: readonly Triple[]): void {
    const all = [...this.#ips, ...this.#macs];
    for (const [, slot] of all) slot.marked = false;
    for (const each of endpoints) this.put(each);
    for (const [key] of all) {
      const slot = this.#slot(key);
      if (slot?.watched === true && !slot.marked) this.forget(key);
    }
  }

  // --- the kernel's entries ---

  #program(key: string, ask: Ask, by: 'table' | 'store'): void {
    ask.state = 'idle';
    const slot = this.#slot(key) as Slot;
    const { mac, vtep } = slot;
    const ip = isMac(key) ? undefined : key;
    const fault = this.#macFault(mac) ?? this.#vtepFault(vtep);
    if (fault !== undefined) {
      this.#reject(key, ask, fault, mac, vtep);
      return;
    }
    const failure =
      (ip === undefined
        ? undefined
        : this.#write('neighbor', { verb: 'replace', ip, mac, state: NUD.permanent, flags: 0 })) ??
      this.#write('fdb', { verb: 'replace', mac, ip: vtep, state: NUD.reachable, flags: NTF.self });
    if (failure !== undefined) {
      if (ip !== undefined) this.#withdraw(ip, undefined);
      this.#reject(key, ask, 'the kernel refused the entry', mac, vtep, failure.errno);
      return;
    }
    slot.programmed = true;
    const home = this.#macs.get(mac);
    if (home) home.programmed = true;
    this.#arm();
    if (ask.missAt === 0n) {
      settle(ask, 'resolved');
      return; // by a change of the store's: nobody has asked
    }
    this.#count('answers');
    const tookUs = Number(this.#now() - ask.missAt) / 1000;
    const given = ask.ttlMs === undefined ? {} : { ttlMs: ask.ttlMs };
    this.#emit({ ...this.#about(key, ask), kind: 'resolved', mac, vtep, ...given, by, tookUs });
    ask.missAt = 0n;
    settle(ask, 'resolved');
  }

  #withdraw(ip: string | undefined, mac: string | undefined): void {
    if (ip !== undefined) this.#write('neighbor', { verb: 'delete', ip, state: 0, flags: 0 });
    if (mac !== undefined) this.#write('fdb', { verb: 'delete', mac, state: 0, flags: NTF.self });
    for (const slot of [ip && this.#ips.get(ip), mac && this.#macs.get(mac)]) if (slot) slot.programmed = false;
  }

  #removePunt(): void {
    const { address: ip, port, vni } = this.#punt as Punt;
    this.#loUp = false; // or its deletion would have it put back
    this.#write('fdb', { verb: 'delete', mac: ZERO_MAC, ip, port, vni, state: 0, flags: NTF.self });
  }

  #addPunt(): void {
    const { address: ip, port, vni } = this.#punt as Punt;
    const entry = { verb: 'append', mac: ZERO_MAC, ip, port, vni } as const;
    this.#write('fdb', { ...entry, state: NUD.permanent, flags: NTF.self });
  }

  #write(table: 'neighbor' | 'fdb', entry: Omit<Entry, 'link'>): Refusal | undefined {
    if (this.#vxlan === undefined) return new Refusal('ENODEV', 'RTM_NEWNEIGH');
    const full: Entry = { ...entry, link: this.#vxlan.name };
    try {
      this.#machine.requestEntry(this.#netns, table, full, 'resolver');
      return undefined;
    } catch (error) {
      if (error instanceof Refusal) return error;
      throw error;
    }
  }

  /** The deletion of a neighbour at its TTL re-arms the miss. */
  #expire(): void {
    const now = this.#now();
    for (const [ip, slot] of this.#ips) {
      if (!slot.programmed || slot.expires === undefined || slot.expires > now) continue;
      if (this.storeDown) this.#ips.set(ip, { ...slot, expires: now + STORE_DOWN_RETRY });
      else this.#withdraw(ip, undefined);
    }
    this.#arm();
  }

  #arm(): void {
    let next: bigint | undefined;
    for (const { programmed, expires } of this.#ips.values()) {
      if (programmed && expires !== undefined && (next === undefined || expires < next)) next = expires;
    }
    this.#alarm.set(next);
  }

  // --- news ---

  #count(name: string, by = 1): void {
    this.stats[name] = (this.stats[name] ?? 0) + by;
  }

  #about(key: string, ask: Ask): { missAtNs: bigint; token: number; ip?: string; queriedMac?: string } {
    const about = { missAtNs: ask.missAt, token: ask.token };
    return isMac(key) ? { ...about, queriedMac: key } : { ...about, ip: key };
  }

  #emit(event: Omit<NativeEvent, 'overlay' | 'atNs'>): void {
    if ((this.wanted & EVENT_BITS[event.kind]) === 0) return;
    this.#out.event({ ...event, overlay: this.#id, atNs: this.#now() });
  }
}

function settle(ask: Ask, outcome: Outcome): void {
  for (const tell of ask.waiting.splice(0)) soon(() => tell(outcome));
}

function isMac(key: string): boolean {
  return key.length === 17 && key[2] === ':';
}

/** The first or the last address of the network of an IPv4 address. */
function isNobodys(candidate: string, ip: string, prefix: number): boolean {
  const number = (text: string): bigint => BigInt(`0x${Buffer.from(ipBytes(text)).toString('hex')}`);
  const bits = ipFamily(ip) === 4 ? 32 : 128;
  if (prefix >= bits - 1) return false;
  const size = 1n << BigInt(bits - prefix);
  const first = number(ip) - (number(ip) % size);
  return number(candidate) === first || (bits === 32 && number(candidate) === first + size - 1n);
}

function isLoopback(ip: string): boolean {
  return ip === '::1' || ip.startsWith('127.');
}
