/** Telling when containers are attached and detached, by whatever process: the kernel's links say it. */
import type { BoundedQueue, Opened, Source } from '../core/bounded-queue.js';
import type { Subscription } from '../core/subscription.js';
import type { RtnlSyncEvent } from '../rtnl/monitor/events.js';
import { Rtnl } from '../rtnl/rtnl.js';
import type { Link } from '../rtnl/types.js';
import type { Where } from '../store/contract.js';
import type { System } from '../system/system.js';
import { type Attachment, attachmentOf } from './ports/attachment.js';

/**
 * A change of the containers attached to an overlay on this host ({@link Overlay.endpointEvents}).
 * @example
 * ```ts
 * import type { EndpointEvent } from 'overns';
 *
 * const words = (event: EndpointEvent): string =>
 *   'endpoint' in event ? `${event.endpoint.ip} ${event.kind}` : event.kind;
 * console.log(words({ overlay: 'blue', vni: 42, atNs: 0n, kind: 'endpoints', endpoints: [] })); // endpoints
 * ```
 */
export type EndpointEvent = Where & {
  /** CLOCK_MONOTONIC nanoseconds (as `process.hrtime.bigint()`). */
  readonly atNs: bigint;
} & (
    | {
        /** All there are: the first event, and again behind each `overflow`. */
        readonly kind: 'endpoints';
        readonly endpoints: readonly Attachment[];
      }
    | {
        /** `attached`: both ends of its interface are up. `detached`: the interface is gone, maybe with its container. */
        readonly kind: 'attached' | 'detached';
        readonly endpoint: Attachment;
      }
    /** This consumer was too slow to be told of each. */
    | { readonly kind: 'overflow'; readonly dropped: number }
  );

/** The overlay that is followed. */
interface Followed {
  readonly name: string;
  readonly vni: number;
  readonly vtep: string;
  readonly system: System;
}

/** Follows the endpoints of an overlay until its name is removed, for a subscription. */
export function endpointSource(overlay: Followed): {
  open(queue: BoundedQueue<EndpointEvent>): Opened;
  readonly source: Source<EndpointEvent>;
} {
  const endpoints = new Endpoints(overlay);
  return {
    open: (queue) => endpoints.follow(queue),
    source: { overflow: (dropped) => endpoints.overflow(dropped), recover: () => endpoints.snapshot() },
  };
}

class Endpoints {
  readonly #overlay: Followed;
  /** By the index of the veth: those that the consumer knows of, or is about to be told of. */
  #known = new Map<number, Attachment>();
  #started = false;
  #start!: () => void;
  readonly #ready = new Promise<void>((resolve) => {
    this.#start = resolve;
  });

  constructor(overlay: Followed) {
    this.#overlay = overlay;
  }

  async snapshot(): Promise<EndpointEvent> {
    // Without an await once it has begun: what comes meanwhile is told behind it.
    if (!this.#started) await this.#ready;
    return { ...this.#about(), kind: 'endpoints', endpoints: [...this.#known.values()] };
  }

  overflow(dropped: number): EndpointEvent {
    return { ...this.#about(), kind: 'overflow', dropped };
  }

  follow(queue: BoundedQueue<EndpointEvent>): Opened {
    let links: Subscription<RtnlSyncEvent> | undefined;
    let closed = false;
    let referenced = true;
    const run = async (): Promise<void> => {
      const { name, system } = this.#overlay;
      links = await Rtnl.monitor({ netns: [name], groups: ['link'], resync: true, system });
      if (closed) void links.return?.();
      if (!referenced) links.unref();
      for await (const event of links) {
        if (event.kind === 'snapshot') this.#restart(event.links ?? [], queue);
        else if (event.kind === 'link') this.#take(event, queue);
        else if (event.kind === 'netns') break;
      }
      // The overlay was deleted, and whatever was attached with it.
      this.#restart([], queue);
      queue.end();
    };
    run().catch((error) => queue.fail(error));
    return {
      close: () => {
        closed = true;
        void links?.return?.();
      },
      ref: () => {
        referenced = true;
        links?.ref();
      },
      unref: () => {
        referenced = false;
        links?.unref();
      },
    };
  }

  /** Compares with all links that there are, at the start and where events of links were lost. */
  #restart(links: readonly Link[], queue: BoundedQueue<EndpointEvent>): void {
    const found = new Map<number, Attachment>();
    for (const link of links) {
      const attachment = link.kind === 'veth' ? attachmentOf(link, this.#overlay.vtep) : undefined;
      if (attachment) found.set(link.index, attachment);
    }
    const before = this.#known;
    this.#known = found;
    if (!this.#started) {
      this.#started = true;
      this.#start();
      return;
    }
    for (const [index, endpoint] of before) {
      if (!isSame(endpoint, found.get(index))) queue.push({ ...this.#about(), kind: 'detached', endpoint });
    }
    for (const [index, endpoint] of found) {
      if (!isSame(endpoint, before.get(index))) queue.push({ ...this.#about(), kind: 'attached', endpoint });
    }
  }

  #take(event: Extract<RtnlSyncEvent, { kind: 'link' }>, queue: BoundedQueue<EndpointEvent>): void {
    const { index, action, linkKind, operstate, atNs } = event;
    const before = this.#known.get(index);
    const now = action === 'delete' || linkKind !== 'veth' ? undefined : attachmentOf(event, this.#overlay.vtep);
    if (isSame(before, now)) return;
    if (before) {
      this.#known.delete(index);
      queue.push({ ...this.#about(), atNs, kind: 'detached', endpoint: before });
    }
    // It is announced before it is configured, and its container can use it when both ends are up.
    if (now && operstate === 'up') {
      this.#known.set(index, now);
      queue.push({ ...this.#about(), atNs, kind: 'attached', endpoint: now });
    }
  }

  #about(): Where & { readonly atNs: bigint } {
    return { overlay: this.#overlay.name, vni: this.#overlay.vni, atNs: process.hrtime.bigint() };
  }
}

function isSame(one: Attachment | undefined, other: Attachment | undefined): boolean {
  return JSON.stringify(one) === JSON.stringify(other);
}
