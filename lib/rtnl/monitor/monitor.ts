/** Runs a monitor: the sockets of its namespaces, their one stream, and with `resync` the mirrors that keep its consumer right. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { BoundedQueue, Opened } from '../../core/bounded-queue.js';
import type { OvernsError } from '../../core/errors.js';
import { checkOptions } from '../../core/options.js';
import type { Subscription } from '../../core/subscription.js';
import { createSubscription, MAX_QUEUE_DEFAULT } from '../../core/subscription.js';
import { listNetns } from '../../netns/references.js';
import { netnsChange, watchNetns } from '../../netns/watch.js';
import type { NativeMonitor } from '../../system/native.js';
import type { NetnsWatch } from '../../system/netns-watcher.js';
import type { System } from '../../system/system.js';
import { DEFAULT_GROUPS, type MonitorGroup, type MonitorOptions, monitorOptions, openMonitor } from './events.js';
import { groupOf, type Indexed, type Item, indexed, LISTED_KINDS, type Listed, Mirror } from './mirror.js';

/** One namespace to be monitored. */
export interface MonitorSource {
  readonly path: string;
  /** For errors; undefined for the caller's own. */
  readonly words: string | undefined;
  /** The events' `netns`, where there are several. */
  readonly label?: string;
  /** Its name in the directory of named namespaces: the monitor lets go of it when that is removed. */
  readonly name?: string | undefined;
  /**
   * Lists what belongs to the groups, when what the kernel is about to change with what it has told of is done.
   * @param anyhow a table that changes each time it is read as it was read; else that is EINTR
   */
  list(groups: readonly MonitorGroup[], anyhow?: boolean): Promise<Listed>;
  /** Nothing more is listed. */
  close?(): void;
}

/**
 * The news of namespaces in one stream.
 * @throws NetlinkError, TypeError, RangeError
 */
export function monitorNamespaces<E>(
  system: System,
  sources: readonly MonitorSource[],
  options: MonitorOptions,
): Subscription<E> {
  const checked = checkOptions(options, monitorOptions);
  const { groups = DEFAULT_GROUPS, resync = false, receiveBuffer, ...queue } = checked;
  const monitors = new Monitors(system, sources, groups, resync, checked);
  return createSubscription<Item>(
    queue,
    (opened) => monitors.open(opened),
    resync ? { overflow: overrun, recover: () => monitors.snapshot() } : { overflow: overrun },
  ) as unknown as Subscription<E>;
}

/** Pause between two listings of a table that changes all the time, in times that one has taken. */
const PAUSE_FACTOR = 4;
/** Interval between two listings of everything: about a hundred times as long as one takes. */
const AUDIT_MS = 500;
const AUDIT_MS_PER_ROW = 0.5;

/** One namespace that is followed. */
interface Followed {
  readonly source: MonitorSource;
  readonly monitor: NativeMonitor;
  /** With `resync`, from the first snapshot on: what the consumer has when it has read what is queued. */
  mirror: Mirror | undefined;
  /** True while it is listed, and in the pause after that. */
  busy: boolean;
  timer: NodeJS.Timeout | undefined;
}

/** Events of one namespace that came together. */
interface Burst {
  readonly followed: Followed;
  readonly events: readonly Item[];
  /** Lost with them. */
  readonly dropped: number;
}

class Monitors {
  readonly #system: System;
  readonly #sources: readonly MonitorSource[];
  readonly #groups: ReadonlySet<MonitorGroup>;
  readonly #resync: boolean;
  readonly #options: MonitorOptions;
  readonly #followed = new Map<MonitorSource, Followed>();
  /** Events that have come while a snapshot is made: they stand behind it. */
  #waiting: Burst[] | undefined;
  #waitingCount = 0;
  #missesLost = 0;
  #watcher: NetnsWatch | undefined;
  #queue!: BoundedQueue<Item>;

  constructor(
    system: System,
    sources: readonly MonitorSource[],
    groups: readonly MonitorGroup[],
    resync: boolean,
    options: MonitorOptions,
  ) {
    this.#system = system;
    this.#sources = sources;
    this.#groups = new Set(groups);
    this.#resync = resync;
    this.#options = options;
  }

  open(queue: BoundedQueue<Item>): Opened {
    this.#queue = queue;
    const groups = new Set<string>(this.#groups);
    groups.delete('netns');
    // Rows of the groups may change in silence with these.
    if (this.#resync && groups.size > 0) groups.add('link').add('address').add('nexthop');
    try {
      for (const source of groups.size === 0 ? [] : this.#sources) this.#follow(source, [...groups]);
      if (this.#groups.has('netns') || this.#sources.some(({ name }) => name !== undefined)) {
        this.#watcher = watchNetns(this.#system, (action, name) => this.#named(action, name));
      }
    } catch (error) {
      this.#close();
      throw error;
    }
    const keeping = () => [...[...this.#followed.values()].map(({ monitor }) => monitor), this.#watcher];
    return {
      close: () => this.#close(),
      ref: () => {
        for (const each of keeping()) each?.ref();
      },
      unref: () => {
        for (const each of keeping()) each?.unref();
      },
    };
  }

  #follow(source: MonitorSource, groups: readonly string[]): void {
    const { path, words } = source;
    const { receiveBuffer } = this.#options;
    const monitor = openMonitor(this.#system, { path, groups, netns: words, receiveBuffer }, (events, dropped) => {
      const followed = this.#followed.get(source);
      if (followed !== undefined) this.#received(followed, events as Item[], dropped);
    });
    this.#followed.set(source, { source, monitor, mirror: undefined, busy: false, timer: undefined });
  }

  #close(): void {
    this.#watcher?.close();
    for (const source of this.#sources) this.#release(source);
  }

  #release(source: MonitorSource): void {
    const followed = this.#followed.get(source);
    this.#followed.delete(source);
    followed?.monitor.close();
    clearTimeout(followed?.timer);
    source.close?.();
  }

  #received(followed: Followed, events: Item[], dropped: number): void {
    const { label } = followed.source;
    if (label !== undefined) for (const event of events) event.netns = label;
    if (!this.#resync) {
      if (dropped > 0) events.push(label === undefined ? overrun(dropped) : { ...overrun(dropped), netns: label });
      this.#queue.pushAll(events);
      return;
    }
    if (this.#waiting !== undefined) this.#hold({ followed, events, dropped });
    else this.#process({ followed, events, dropped });
  }

  #hold(burst: Burst): void {
    this.#waitingCount += burst.events.length + burst.dropped;
    if (this.#waitingCount <= (this.#options.maxQueue ?? MAX_QUEUE_DEFAULT) || burst.dropped > 0)
      this.#waiting?.push(burst);
    // Changes of rows are found in the listing after the snapshot, misses are not.
    else this.#missesLost += burst.events.filter(({ kind }) => kind === 'miss').length;
  }

  /** Tells of events, and lists anew what may have changed with them in silence. */
  #process({ followed, events, dropped }: Burst): void {
    // Events that came with a loss are older than the snapshot to come, or are listed there.
    if (dropped > 0) {
      this.#queue.lose(dropped);
      return;
    }
    const { mirror } = followed;
    // Before the first snapshot nobody has anything.
    if (mirror === undefined) return;
    const wanted = events.filter((event) => mirror.take(event) && this.#isWanted(event));
    if (wanted.length > 0) this.#queue.pushAll(wanted);
    if (mirror.stale.size > 0) void this.#compare(followed);
  }

  #isWanted({ kind }: Item): boolean {
    const group = groupOf(kind);
    return group !== undefined && this.#groups.has(group);
  }

  /** Lists what may have changed in silence, and tells of the differences. */
  async #compare(followed: Followed): Promise<void> {
    if (followed.busy) return;
    followed.busy = true;
    clearTimeout(followed.timer);
    try {
      for (;;) {
        const { mirror } = followed;
        if (mirror === undefined || mirror.stale.size === 0 || this.#isOver(followed, mirror)) break;
        const began = performance.now();
        const listed = await this.#list(followed, mirror);
        const took = performance.now() - began;
        if (this.#isOver(followed, mirror)) continue;
        await mirror.compare(listed, (events) => this.#differs(followed, mirror, events));
        if (mirror.stale.size > 0) await sleep(took * PAUSE_FACTOR, undefined, { ref: false });
      }
    } catch (error) {
      // Changed each time it was read: later.
      if (this.#followed.has(followed.source) && (error as OvernsError).code !== 'EINTR') this.#queue.fail(error);
    }
    followed.busy = false;
    this.#audit(followed);
  }

  #differs(followed: Followed, mirror: Mirror, events: readonly Item[]): void {
    if (this.#isOver(followed, mirror)) return;
    const { label } = followed.source;
    const wanted = events.filter((event) => this.#isWanted(event));
    if (label !== undefined) for (const event of wanted) event.netns = label;
    if (wanted.length > 0) this.#queue.pushAll(wanted);
  }

  async #list({ source }: Followed, mirror: Mirror): Promise<Indexed> {
    const groups = [...mirror.stale];
    mirror.stale.clear();
    mirror.listing();
    const listed = await indexed(await source.list(groups));
    // A table that changes while it is read may have been read with rows left out (neigh_dump_table, br_fdb_dump).
    return mirror.lacks(listed) ? either(listed, await indexed(await source.list(groups))) : listed;
  }

  /** True when these rows are compared no more: a snapshot begins anew. */
  #isOver(followed: Followed, mirror: Mirror): boolean {
    return this.#waiting !== undefined || followed.mirror !== mirror || !this.#followed.has(followed.source);
  }

  /**
   * Looks at everything in a while: there is what the kernel never tells of (a neighbour that it begins to ask for, a
   * MAC address that a link begins to listen to).
   */
  #audit(followed: Followed): void {
    const { source, mirror } = followed;
    clearTimeout(followed.timer);
    if (mirror === undefined || !this.#followed.has(source)) return;
    followed.timer = setTimeout(
      () => {
        for (const group of this.#tables()) mirror.stale.add(group);
        void this.#compare(followed);
      },
      Math.max(AUDIT_MS, mirror.size * AUDIT_MS_PER_ROW),
    ).unref();
  }

  /** The groups that are listed: links always, for what changes with them. */
  #tables(): MonitorGroup[] {
    const groups = new Set(this.#groups);
    groups.delete('netns');
    return groups.size === 0 ? [] : [...groups.add('link')];
  }

  #named(action: 'new' | 'delete', name: string): void {
    const source = action === 'delete' ? this.#sources.find((each) => each.name === name) : undefined;
    // Its sockets would keep the namespace alive, and its vxlan devices with it.
    if (source !== undefined) this.#release(source);
    if (source === undefined && !this.#groups.has('netns')) return;
    const event: Item = { ...netnsChange(action, name) };
    if (this.#sources.some(({ label }) => label !== undefined)) event.netns = name;
    if (this.#resync && action === 'new') event.action = 'add';
    this.#queue.push(event);
  }

  async #listAll({ source }: Followed, tables: readonly MonitorGroup[]): Promise<Listed> {
    try {
      return await source.list(tables, true);
    } catch (error) {
      // Let go of meanwhile: the others go on.
      if (!this.#followed.has(source)) return {};
      throw error;
    }
  }

  async snapshot(): Promise<Item> {
    this.#waiting = [];
    this.#waitingCount = 0;
    this.#missesLost = 0;
    const snapshot: Item = { kind: 'snapshot' };
    const tables = this.#tables();
    const listings = await Promise.all(
      [...this.#followed.values()].map(async (followed) => ({
        followed,
        listed: await this.#listAll(followed, tables),
      })),
    );
    for (const { followed, listed } of listings) {
      followed.mirror = new Mirror(await indexed(listed));
      for (const [field, kind] of LISTED_KINDS) {
        const rows = listed[field];
        if (rows === undefined || !this.#isWanted({ kind })) continue;
        const { label } = followed.source;
        const named = label === undefined ? rows : rows.map((row) => ({ ...row, netns: label }));
        snapshot[field] = snapshot[field] === undefined ? named : (snapshot[field] as unknown[]).concat(named);
      }
    }
    if (this.#groups.has('netns')) snapshot.netns = await listNetns(this.#system);
    const waiting = this.#waiting;
    this.#waiting = undefined;
    for (const burst of waiting) this.#process(burst);
    if (this.#missesLost > 0) this.#queue.lose(this.#missesLost);
    for (const { followed } of listings) {
      // It was read while it changed.
      if (this.#waitingCount > 0) for (const group of tables) followed.mirror?.stale.add(group);
      void this.#compare(followed);
    }
    return snapshot;
  }
}

/** Joins two listings; rows that both have are as in the second. */
function either(first: Indexed, second: Indexed): Indexed {
  for (const [, kind] of LISTED_KINDS) {
    for (const [identity, row] of second[kind] ?? []) first[kind]?.set(identity, row);
  }
  return first;
}

function overrun(dropped: number): Item {
  return { kind: 'overrun', dropped };
}
