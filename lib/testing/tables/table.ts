/** Contents of the tables of a fake namespace, and who is told when a row comes or goes. */
import type { TableName } from '../../system/native.js';
import type { Prefix } from '../fields.js';

export type Row = Record<string, unknown>;

export interface FakeLink {
  index: number;
  name: string;
  readonly kind: string | undefined;
  netns: Namespace;
  mac: string;
  mtu: number;
  /** True of a bridge's MTU that was given by a change, so that it no longer follows its ports'. */
  mtuSet: boolean;
  up: boolean;
  alias: string;
  group: number;
  master: FakeLink | undefined;
  /** A veth's other end. */
  peer: FakeLink | undefined;
  /** Where a vxlan's UDP socket is. */
  readonly host: Namespace | undefined;
  readonly info: Record<string, unknown>;
}

export interface FakeAddress extends Prefix {
  readonly link: FakeLink;
  readonly scope: string;
  readonly flags: number;
  label: string | undefined;
  readonly prefixRoute: boolean;
}

export interface FakeNeighbor {
  readonly link: FakeLink;
  readonly ip: string;
  mac: string | undefined;
  state: number;
  flags: number;
}

export interface FakeFdbEntry {
  readonly link: FakeLink;
  readonly mac: string;
  /** True: an attribute of the bridge that the link is a port of, instead of the link's own. */
  readonly master: boolean;
  dst: string | undefined;
  vni: number | undefined;
  port: number | undefined;
  state: number;
  flags: number;
}

/** Exactly one of both: an L3 or an L2 miss. */
export interface MissKey {
  readonly ip?: string | undefined;
  readonly mac?: string | undefined;
}

/** Outcome of a miss. */
export type Outcome = 'resolved' | 'unresolved' | 'rejected' | 'local' | 'negative';

/** Observer of a namespace: a monitor or a resolver. */
export interface Observer {
  onNews?(kind: TableName, action: 'new' | 'delete', row: Row): void;
  onMiss?(link: FakeLink, key: MissKey): void;
  catchesL2?(link: FakeLink): boolean;
  /** An answered request of a container goes on to whom it asks: true when it does. */
  primes?(link: FakeLink, asker: string, mac: string): boolean;
  /** Another host's resolver has sent on a request for what is here. */
  onPrimed?(link: FakeLink, asker: string, target: string): void;
  /** A frame from another host for a MAC address that nobody has here: true when it is sent out of the device again. */
  redirects?(link: FakeLink, mac: string): boolean;
  outcome?(link: FakeLink, key: MissKey): Promise<Outcome> | undefined;
  onOverrun?(dropped: number): void;
  onLink?(link: FakeLink, gone: boolean): void;
  onFdbGone?(entry: FakeFdbEntry): void;
}

/** A namespace as a link that is in it, or leads to it, sees it. */
export interface Namespace {
  /** Its name in requests and snapshots: its name, its path, or '' for the process's own. */
  readonly name: string;
  readonly links: readonly FakeLink[];
  readonly addresses: readonly FakeAddress[];
  readonly observers: Set<Observer>;
  /** The id by which this namespace knows another. */
  id(other: Namespace): number | undefined;
  /** Gives another one an id, unless it has one. */
  introduce(other: Namespace): void;
  ports(bridge: FakeLink): readonly FakeLink[];
  remove(link: FakeLink): void;
  neighbor(link: FakeLink, address: string): FakeNeighbor | undefined;
  forwarding(link: FakeLink, address: string): readonly FakeFdbEntry[];
  learn(link: FakeLink, address: string, dst: string): boolean;
  miss(link: FakeLink, key: MissKey): void;
  outcome(link: FakeLink, key: MissKey): Promise<Outcome> | undefined;
}

export const TABLE_MAIN = 254;
export const ZERO_MAC = '00:00:00:00:00:00';

/** Rows of one kind in a namespace. */
export abstract class Table<T> {
  readonly items: T[] = [];
  readonly #name: TableName;
  readonly #observers: ReadonlySet<Observer>;

  constructor(name: TableName, observers: ReadonlySet<Observer>) {
    this.#name = name;
    this.#observers = observers;
  }

  /** In the words of Rtnl's listings. */
  abstract row(item: T): Row;

  rows(): Row[] {
    return this.items.map((item) => this.row(item));
  }

  /** @param more what the news says beyond the row */
  protected tell(action: 'new' | 'delete', item: T, more: Row = {}): void {
    const row = { ...this.row(item), ...more };
    for (const observer of [...this.#observers]) observer.onNews?.(this.#name, action, row);
  }

  drop(gone: (item: T) => boolean): T[] {
    const dropped = this.items.filter(gone);
    for (const item of dropped) {
      this.items.splice(this.items.indexOf(item), 1);
      this.tell('delete', item);
    }
    return dropped;
  }
}
