/**
 * The decisions of native/engine about one overlay's misses, as far as a consumer can see them.
 * Left out: rates, bounds of queues, and turns among askers.
 */
import { isLinkLocal6, whyNotUnicastIp, whyNotUnicastMac } from '../../core/address.js';
import {
  EVENT_BITS,
  type NativeEvent,
  type NativeLookup,
  type NativeReactor,
  type TableName,
} from '../../system/native.js';
import { soon } from '../clock.js';
import { NTF, NUD } from '../entries.js';
import type { Machine } from '../machine.js';
import type { FakeNetns } from '../netns.js';
import type { FakeFdbEntry, FakeLink, MissKey, Observer, Outcome, Row } from '../tables/table.js';
import { EntryWriter } from './entry-writer.js';
import { isMac, OverlayLinks, VXLAN } from './overlay-links.js';
import { LO_DOWN, Punt } from './punt.js';

/** Requests for a neighbour in such a state are dropped without a miss. */
const DECAYED = NUD.stale | NUD.delay | NUD.probe;
/** Of entries that a hand wrote: they stay. */
const STATIC = NUD.permanent | NUD.noarp;
const SECOND = 1_000_000_000n;
const MILLISECOND = 1_000_000n;
const ANSWER_TTL_MS = 60_000;
const REDIRECT_MS = 60_000;
/** While the store is down an entry stays, and is looked at again after this time. */
const STORE_DOWN_RETRY = 5n * SECOND;

export type PortOptions = Parameters<NativeReactor['add']>[1];
export type LookupResult = 'found' | 'absent' | 'timeout' | 'error';

export interface Endpoint {
  readonly ip: string;
  readonly mac: string;
  readonly vtep: string;
}

/** The answer to a lookup that has found the endpoint. */
interface Location {
  readonly mac: string;
  readonly vtep: string;
  readonly ttlMs: number | undefined;
}

/** What a table knows of an address or a MAC. */
interface Slot {
  readonly mac: string;
  readonly vtep: string;
  /** Undefined: it has no TTL. */
  readonly expires: bigint | undefined;
  readonly watched: boolean;
  /** True: the kernel had it at the start, and the store has yet to name it. */
  readonly adopted?: boolean;
  marked: boolean;
  /** A reset has not named it, and nothing has since. */
  missing?: boolean;
  programmed: boolean;
  /** It holds no longer, but the kernel keeps its entry until that is withdrawn or replaced. */
  readonly outdated?: boolean;
  /** The kernel has learned its entry from a frame. */
  readonly learned?: boolean;
}

interface Ask {
  state: 'idle' | 'looking' | 'queued' | 'absent';
  token: number;
  /** TTL of the lookup's answer. */
  ttlMs: number | undefined;
  missAt: bigint;
  /** The time until which it is known to be absent. */
  expires: bigint;
  /** Absent because the record of this MAC address names this host. */
  here: string | undefined;
  /** True: the endpoint was deleted while it was looked up, so the answer may be older than the deletion. */
  outdated: boolean;
  /** Called once it is known what became of it. */
  readonly waiting: ((outcome: Outcome) => void)[];
}

/** The queues to JavaScript. */
interface Out {
  event(event: NativeEvent): void;
  lookup(lookup: NativeLookup): void;
}

/** One overlay while it is served. */
export class OverlayPort implements Observer {
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
    notHere: 0,
    lookupsAbandoned: 0,
    announced: 0,
    contradicted: 0,
    primed: 0,
    redirected: 0,
  };
  /** Why packets were not caught when it was added. */
  readonly noPunt: string | undefined;
  /** Addresses whose entries an earlier one has kept for as long as they are used. */
  readonly kept: string[] = [];
  storeDown = false;
  wanted = 0;
  readonly #machine: Machine;
  readonly #id: number;
  readonly #netns: FakeNetns;
  readonly #options: PortOptions;
  readonly #out: Out;
  readonly #ips = new Map<string, Slot>();
  readonly #macs = new Map<string, Slot>();
  /** By address: the MAC that containers here were told of last. */
  readonly #told = new Map<string, string>();
  /** MAC addresses that have left, and until when frames for them are sent on. */
  readonly #departed = new Map<string, bigint>();
  #contradictedAt: bigint | undefined;
  readonly #asks = new Map<string, Ask>();
  readonly #queue: string[] = [];
  readonly #alarm: { set(at: bigint | undefined): void };
  readonly #punt: Punt | undefined;
  readonly #links: OverlayLinks;
  readonly #writer: EntryWriter;
  /** The watch has so few endpoints that they may be programmed ahead. */
  #few = false;
  #lookups = 0;
  #lastToken = 0;
  #closed = false;

  constructor(machine: Machine, id: number, options: PortOptions, out: Out) {
    this.#machine = machine;
    this.#id = id;
    this.#options = options;
    this.#out = out;
    this.#netns = machine.find(options.netns);
    const { hostNetns, punt, vtep } = options;
    const host = hostNetns === undefined ? machine.own : machine.find(hostNetns);
    this.#links = new OverlayLinks(this.#netns, hostNetns === undefined && punt === false ? undefined : host, vtep);
    this.#writer = new EntryWriter(machine, this.#netns, this.#links);
    this.#alarm = machine.clock.alarm(() => this.#expire());
    this.#netns.observers.add(this);
    machine.hold(this.#netns);
    for (const link of this.#netns.links) this.#readAlias(link, false);
    for (const { link, master, mac, dst, port, state, flags } of [...this.#netns.fdb]) {
      if (link !== this.#links.vxlan || master || dst === undefined || port !== undefined) continue;
      if (whyNotUnicastMac(mac) !== undefined || (state & STATIC) !== 0) continue;
      if (vtep === dst || this.#links.macFault(mac) !== undefined || this.#links.vtepFault(dst) !== undefined)
        this.#withdraw(undefined, mac);
      else this.#adoptMac(mac, dst, (flags & NTF.extLearned) === 0);
    }
    for (const each of [...this.#netns.neighbors]) {
      if (each.link === this.#links.vxlan && (each.state & (DECAYED | NUD.failed)) !== 0)
        this.#withdraw(each.ip, undefined);
      if (each.link !== this.#links.vxlan || each.state !== NUD.permanent || each.mac === undefined) continue;
      if (whyNotUnicastIp(each.ip) !== undefined) continue;
      if (this.#links.isLocal(each.ip) || this.#links.macFault(each.mac) !== undefined) {
        this.#withdraw(each.ip, undefined);
        continue;
      }
      const station = this.#macs.get(each.mac);
      if (station?.learned === true && this.#links.vxlan?.info.learning !== true) {
        const { mac, vtep } = station;
        const slot = { mac, vtep, expires: 0n, outdated: true, watched: false, marked: false, programmed: true };
        this.#ips.set(each.ip, slot);
        this.#told.set(each.ip, each.mac);
        this.kept.push(each.ip, each.mac);
        continue;
      }
      const expires = this.#now() + BigInt(ANSWER_TTL_MS) * MILLISECOND;
      const found = { mac: each.mac, vtep: station?.vtep ?? '', expires, adopted: true };
      this.#ips.set(each.ip, { ...found, watched: false, marked: false, programmed: true });
      if (station !== undefined) this.#macs.set(each.mac, { ...station, adopted: true });
      this.#told.set(each.ip, each.mac);
    }
    if (punt === false) {
      this.noPunt = 'switched off';
    } else {
      this.#punt = new Punt(id, vtep, host, this.#links, this.#writer, (event) => this.#emit(event));
      if (!this.#punt.catches) this.noPunt = LO_DOWN;
    }
    this.#arm();
  }

  get endpoints(): number {
    return this.#ips.size;
  }

  get missing(): number {
    return [...this.#ips.values()].filter(({ missing }) => missing === true).length;
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#netns.observers.delete(this);
    this.#alarm.set(undefined);
    this.#punt?.close();
    for (const ask of this.#asks.values()) settle(ask, 'unresolved');
    this.#machine.release(this.#netns);
  }

  get #ahead(): number {
    return this.#options.programAhead ?? 0;
  }

  #now(): bigint {
    return this.#machine.clock.now();
  }

  // --- observing the kernel ---

  /** Takes the kernel's miss, or a packet that the punt has caught: then nobody else hears of it. */
  onMiss(link: FakeLink, { ip, mac }: MissKey): void {
    if (link !== this.#links.vxlan) return;
    if (mac !== undefined && this.#punt?.catches === true)
      this.#emit({ kind: 'miss', queriedMac: mac, missAtNs: this.#now() });
    this.#ask(ip ?? (mac as string));
  }

  /** True while L2 misses come as packets, of which the kernel notifies nobody. */
  catchesL2(link: FakeLink): boolean {
    return link === this.#links.vxlan && this.#punt?.catches === true;
  }

  /** The request that a container here has made, and that has been answered, goes on to whom it asks. */
  primes(link: FakeLink, asker: string, mac: string): boolean {
    if (link !== this.#links.vxlan || this.#options.prime !== true || this.#punt?.catches !== true) return false;
    if (!this.#links.isLocal(asker) || !this.#links.isLocal(mac)) return false;
    this.#count('primed');
    return true;
  }

  onPrimed(link: FakeLink, asker: string, target: string): void {
    if (link !== this.#links.vxlan || this.#options.prime !== true) return;
    if (!this.#links.isLocal(target) || this.#links.isLocal(asker)) return;
    const slot = this.#ips.get(asker);
    if (slot === undefined || slot.vtep === this.#options.vtep) return;
    const ask = this.#askFor(asker);
    if (ask.state !== 'looking' && ask.state !== 'queued') this.#answerFromTable(asker, ask, this.storeDown);
  }

  redirects(link: FakeLink, mac: string): boolean {
    if (link !== this.#links.vxlan || link.info.learning === true) return false;
    if (this.#now() >= (this.#departed.get(mac) ?? 0n) || this.#links.isLocal(mac)) return false;
    if (this.#macs.get(mac)?.vtep === this.#options.vtep) return false;
    this.#count('redirected');
    return true;
  }

  /** Removes a neighbour that others wrote and that has decayed, which keeps the kernel from asking. */
  onNews(kind: TableName, action: 'new' | 'delete', row: Row): void {
    if (kind === 'fdb' && action === 'new' && row.link === VXLAN) this.#onEntry(row.mac as string);
    if (kind !== 'neighbor' || action === 'delete' || row.link !== VXLAN) return;
    const entry = this.#links.vxlan && this.#netns.neighbor(this.#links.vxlan, row.ip as string);
    if (entry !== undefined && (entry.state & DECAYED) !== 0) this.#withdraw(entry.ip, undefined);
  }

  #adoptMac(mac: string, vtep: string, learned: boolean): void {
    const expires = this.#now();
    this.#macs.set(mac, {
      mac,
      vtep,
      expires,
      watched: false,
      adopted: !learned,
      marked: false,
      programmed: true,
      learned,
    });
  }

  /** Looks at an entry that may have been learned from a frame: the store wins. */
  #onEntry(mac: string): void {
    const [entry] = this.#links.vxlan === undefined ? [] : this.#netns.forwarding(this.#links.vxlan, mac);
    const { dst: learned, port, state = 0, flags = 0 } = entry ?? {};
    if (learned === undefined || port !== undefined || (state & STATIC) !== 0 || (flags & NTF.extLearned) !== 0) return;
    if (whyNotUnicastMac(mac) !== undefined) return;
    const slot = this.#macs.get(mac);
    const here = this.#links.isLocal(mac);
    if (!here && (slot === undefined || slot.vtep === '' || slot.learned === true)) {
      this.#adoptMac(mac, learned, true);
      return;
    }
    if (!here && slot?.vtep === learned) {
      slot.programmed = true;
      return;
    }
    this.#count('contradicted');
    const now = this.#now();
    if (this.#contradictedAt === undefined || now - this.#contradictedAt >= SECOND) {
      this.#contradictedAt = now;
      this.#emit({ kind: 'contradicted', mac, learned, vtep: here ? this.#options.vtep : (slot?.vtep ?? '') });
    }
    // Not within the change that is being told.
    soon(() => {
      if (this.#closed) return;
      if (here) this.#withdraw(undefined, mac);
      else if (slot?.watched === true || slot?.expires === undefined || slot.expires > now || this.storeDown)
        this.#program(mac, this.#askFor(mac), 'table');
      else this.#lookUp(mac, this.#askFor(mac));
    });
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
    if (gone && link === this.#links.vxlan) {
      this.#links.vxlan = undefined;
      for (const slot of [...this.#ips.values(), ...this.#macs.values()]) slot.programmed = false;
      this.#emit({ kind: 'overlay-lost' });
    } else if (!gone && this.#links.vxlan === undefined && link.name === VXLAN && link.kind === 'vxlan') {
      this.#links.vxlan = link;
      this.#punt?.onVxlan();
      this.#emit({ kind: 'overlay-back' });
    }
    this.#readAlias(link, gone);
  }

  onFdbGone(entry: FakeFdbEntry): void {
    if (this.#closed || entry.link !== this.#links.vxlan || !this.#netns.links.includes(entry.link)) return;
    this.#punt?.onEntryGone(entry);
  }

  /** Withdraws what is attached here: it may have been remote until now. */
  #readAlias(link: FakeLink, gone: boolean): void {
    const before = this.#links.macBehind(link);
    const local = this.#links.read(link, gone);
    if (before !== undefined && !this.#links.isLocal(before))
      this.#departed.set(before, this.#now() + BigInt(this.#options.redirectMs ?? REDIRECT_MS) * MILLISECOND);
    if (local === undefined) return;
    this.#departed.delete(local.mac);
    this.#withdraw(undefined, local.mac);
    for (const ip of local.ips) this.#withdraw(ip, undefined);
  }

  // --- misses ---

  #ask(key: string): void {
    this.#count('misses');
    if ((isMac(key) ? whyNotUnicastMac(key) : whyNotUnicastIp(key)) !== undefined) return;
    if (this.#links.isLocal(key)) {
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
    ask.here = undefined;
    ask.token = 0;
    ask.ttlMs = undefined;
    ask.missAt = this.#now();
    if (!this.#answerFromTable(key, ask, this.storeDown)) this.#lookUp(key, ask);
  }

  /** Tells those who wait what a miss comes to, at once where it is known already. */
  outcome(link: FakeLink, { ip, mac }: MissKey): Promise<Outcome> | undefined {
    if (link !== this.#links.vxlan) return undefined;
    const key = ip ?? (mac as string);
    if (this.#links.isLocal(key)) return Promise.resolve('local');
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
      ask = {
        state: 'idle',
        token: 0,
        ttlMs: undefined,
        missAt: 0n,
        expires: 0n,
        here: undefined,
        outdated: false,
        waiting: [],
      };
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
    ask.outdated = false;
    ask.token = ++this.#lastToken;
    this.#lookups++;
    this.#count('lookups');
    this.#out.lookup({ overlay: this.#id, token: ask.token, l3: !isMac(key), key, missAtNs: ask.missAt });
  }

  #answerFromTable(key: string, ask: Ask, stale: boolean): boolean {
    const slot = this.#slot(key);
    if (!slot || slot.vtep === '') return false;
    const old = slot.adopted === true || (slot.expires !== undefined && slot.expires <= this.#now());
    if (old && !stale) return false;
    if (slot.vtep === this.#options.vtep) {
      this.#here(ask, isMac(key) ? key : slot.mac);
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

  /** Whether nobody here has what its record says is here is looked at when the state is over. */
  #here(ask: Ask, mac: string): void {
    this.#count('local');
    this.#absent(ask, 'local');
    ask.here = mac;
    this.#arm();
  }

  #tellNotHere(key: string, ask: Ask): void {
    const mac = ask.here as string;
    ask.here = undefined;
    if (ask.state !== 'absent' || this.#links.isLocal(key) || this.#links.isBehindBridge(mac)) return;
    this.#count('notHere');
    this.#emit({ ...this.#about(key, ask), kind: 'unresolved', cause: 'not-here' });
  }

  answer(token: number, key: string, result: LookupResult, location: Location): void {
    this.#lookups--;
    const ask = this.#asks.get(key);
    if (ask?.state === 'looking' && ask.token === token) {
      ask.state = 'idle';
      if (ask.outdated) this.#lookUp(key, ask);
      else if (result === 'found') this.#found(key, ask, location);
      else this.#notFound(key, ask, result);
    }
    while (this.#queue.length > 0 && this.#lookups < (this.#options.maxLookups ?? 256)) {
      const next = this.#queue.shift() as string;
      const queued = this.#asks.get(next);
      if (queued?.state === 'queued') this.#lookUp(next, queued);
    }
  }

  #found(key: string, ask: Ask, location: Location): void {
    const { vtep, ttlMs } = location;
    const mac = isMac(key) ? key : location.mac;
    if (vtep === this.#options.vtep) {
      this.forget(key);
      this.forget(mac);
      this.#here(ask, mac);
      return;
    }
    const fault = this.#links.macFault(mac) ?? this.#links.vtepFault(vtep);
    if (fault !== undefined) {
      this.#reject(key, ask, fault, mac, vtep);
      return;
    }
    const expires = this.#now() + BigInt(ttlMs ?? ANSWER_TTL_MS) * MILLISECOND;
    this.#learn(isMac(key) ? undefined : key, { mac, vtep, expires, watched: false, marked: false, programmed: false });
    ask.ttlMs = ttlMs;
    this.#program(key, ask, 'store');
  }

  #notFound(key: string, ask: Ask, result: Exclude<LookupResult, 'found'>): void {
    const event = { ...this.#about(key, ask), kind: 'unresolved' } as const;
    if (result === 'absent' && this.#slot(key)?.missing !== true) {
      this.forget(key);
      this.#emit({ ...event, cause: 'absent' });
      ask.missAt = 0n;
      this.#absent(ask, 'unresolved');
    } else if (!this.#answerFromTable(key, ask, true)) {
      this.#emit({ ...event, cause: result === 'error' ? 'store-error' : result });
      settle(ask, 'unresolved');
    }
  }

  #reject(key: string, ask: Ask, reason: string, mac: string, vtep: string, errno = 0): void {
    this.#count('rejected');
    this.#emit({ ...this.#about(key, ask), kind: 'rejected', reason, errno, mac, vtep });
    this.#absent(ask, 'rejected');
  }

  // --- the table ---

  #learn(ip: string | undefined, slot: Slot): void {
    const told = ip === undefined ? undefined : this.#told.get(ip);
    if (ip !== undefined && told !== undefined && told !== slot.mac) {
      this.#told.set(ip, slot.mac);
      if (!this.#links.isLocal(ip) && slot.vtep !== this.#options.vtep) this.#count('announced');
    }
    if (ip !== undefined) this.#ips.set(ip, { ...slot, programmed: this.#ips.get(ip)?.programmed === true });
    const before = this.#macs.get(slot.mac);
    if (before?.watched === true && !slot.watched && before.vtep === slot.vtep) return;
    this.#macs.set(slot.mac, { ...slot, programmed: before?.programmed === true });
  }

  put({ ip, mac, vtep }: Endpoint): void {
    const fault =
      whyNotUnicastIp(ip) === undefined
        ? whyNotUnicastMac(mac) === undefined
          ? this.#links.vtepFault(vtep)
          : this.#links.macFault(mac)
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
    const ahead = (): boolean => before?.programmed !== true && this.#few && this.#ips.size <= this.#ahead;
    const rehomed = beforeMac?.programmed === true && beforeMac.vtep !== vtep;
    this.#learn(ip, { mac, vtep, expires: undefined, watched: true, marked: true, programmed: false });
    if (vtep === this.#options.vtep) {
      if (before?.programmed === true) this.#withdraw(ip, undefined);
      if (before?.programmed === true || rehomed) this.#withdraw(undefined, mac);
      return;
    }
    if (this.#links.isLocal(ip)) return;
    for (const [key, changed] of [
      [ip, moved || ahead()],
      [mac, rehomed && !moved],
    ] as const) {
      const ask = changed ? this.#askFor(key) : this.#asks.get(key);
      if (!ask) continue;
      if (changed || ask.state === 'looking' || ask.state === 'queued') this.#program(key, ask, 'table');
      else ask.state = 'idle';
    }
  }

  forget(key: string, keep = false): void {
    const ask = this.#asks.get(key);
    if (ask?.state === 'looking') ask.outdated = true;
    if (ask) ask.here = undefined;
    const slot = this.#slot(key);
    if (!slot) return;
    if (slot.programmed && keep) {
      (isMac(key) ? this.#macs : this.#ips).set(key, {
        ...slot,
        watched: false,
        adopted: false,
        missing: false,
        outdated: true,
        expires: 0n,
      });
      return;
    }
    if (slot.programmed) this.#withdraw(isMac(key) ? undefined : key, isMac(key) ? key : undefined);
    (isMac(key) ? this.#macs : this.#ips).delete(key);
  }

  reset(endpoints: readonly Endpoint[]): void {
    this.#few = endpoints.length <= this.#ahead;
    const all = [...this.#ips, ...this.#macs];
    for (const [, slot] of all) slot.marked = false;
    for (const each of endpoints) this.put(each);
    for (const [key] of all) {
      const slot = this.#slot(key);
      if (slot !== undefined && (slot.watched || slot.adopted === true) && !slot.marked) slot.missing = true;
    }
  }

  sweep(): void {
    for (const [key, { missing }] of [...this.#ips, ...this.#macs]) if (missing === true) this.forget(key);
  }

  // --- the kernel's entries ---

  #program(key: string, ask: Ask, by: 'table' | 'store'): void {
    ask.state = 'idle';
    const slot = this.#slot(key) as Slot;
    const { mac, vtep } = slot;
    const ip = isMac(key) ? undefined : key;
    const fault = this.#links.macFault(mac) ?? this.#links.vtepFault(vtep);
    if (fault !== undefined) {
      this.#reject(key, ask, fault, mac, vtep);
      return;
    }
    const failure = this.#writer.program(ip, mac, vtep);
    if (failure !== undefined) {
      if (ip !== undefined) this.#withdraw(ip, undefined);
      this.#reject(key, ask, 'the kernel refused the entry', mac, vtep, failure.errno);
      return;
    }
    slot.programmed = true;
    if (ip !== undefined) this.#told.set(ip, mac);
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
    this.#writer.withdraw(ip, mac);
    for (const slot of [ip && this.#ips.get(ip), mac && this.#macs.get(mac)]) if (slot) slot.programmed = false;
  }

  /** The deletion of a neighbour at its TTL re-arms the miss. */
  #expire(): void {
    const now = this.#now();
    for (const [ip, slot] of this.#ips) {
      if (!slot.programmed || slot.outdated === true || slot.expires === undefined || slot.expires > now) continue;
      if (this.storeDown || slot.missing === true) this.#ips.set(ip, { ...slot, expires: now + STORE_DOWN_RETRY });
      else this.#withdraw(ip, undefined);
    }
    for (const [key, ask] of this.#asks) if (ask.here !== undefined && ask.expires <= now) this.#tellNotHere(key, ask);
    this.#arm();
  }

  #arm(): void {
    let next: bigint | undefined;
    const sooner = (at: bigint): void => {
      if (next === undefined || at < next) next = at;
    };
    for (const { programmed, outdated, expires } of this.#ips.values())
      if (programmed && outdated !== true && expires !== undefined) sooner(expires);
    for (const { here, expires } of this.#asks.values()) if (here !== undefined) sooner(expires);
    this.#alarm.set(next);
  }

  // --- reports ---

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
