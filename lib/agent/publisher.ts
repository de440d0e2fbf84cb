/** Keeps the endpoints of this host in the store, for all overlays that an agent serves. */
import { OvernsError } from '../core/errors.js';
import type { NetnsRef } from '../netns/references.js';
import { Overlay } from '../overlay/overlay.js';
import type { ResolverExtension } from '../resolver/extension.js';
import type { Store } from '../store/contract.js';
import { Interest } from '../store/interest.js';
import type { System } from '../system/system.js';
import type { EndpointStatus, PublisherEvent } from './endpoint-status.js';
import { HostLease } from './host-lease.js';
import { PublishedOverlay, type Publishing, type PublishingStore } from './published-overlay.js';
import { answerPublishing, publishingWords } from './publishing-requests.js';

/** Whether endpoints can be kept in a store, as far as can be seen. */
export function canPublish(store: Store): store is PublishingStore {
  return (['claim', 'withdraw', 'lease', 'list'] as const).every((method) => typeof store[method] === 'function');
}

export class Publisher {
  readonly #system: System;
  readonly #host: NetnsRef | undefined;
  readonly #shared: Publishing;
  readonly #lease: HostLease;
  readonly #overlays = new Map<string, PublishedOverlay>();
  /** By name: that it begins, one after the other. */
  readonly #work = new Map<string, Promise<void>>();
  readonly #served = new Set<string>();
  /** By name: the addresses that this host has there, or may have in the store. */
  readonly #addresses = new Map<string, Interest>();
  #off = false;

  /** Its part in the resolver of the overlays. */
  readonly extension: ResolverExtension = {
    observe: ({ overlay, vni }, change) => {
      const published = this.#overlays.get(overlay);
      if (published?.where.vni === vni) published.observe(change);
    },
    own: ({ overlay }) => this.#own(overlay),
    control: ({ overlay }, request) => answerPublishing(request, () => this.overlay(overlay)),
    status: ({ overlay }) =>
      this.#off ? {} : { publishing: publishingWords(this.#overlays.get(overlay)?.status() ?? []) },
  };

  /** @param host the overlays' host, where it is not found */
  constructor(
    store: PublishingStore,
    system: System,
    {
      host,
      leaseTtlMs,
      doubt,
    }: {
      readonly host: NetnsRef | undefined;
      readonly leaseTtlMs: number | undefined;
      readonly doubt: Publishing['doubt'];
    },
    tell: (event: PublisherEvent) => void,
  ) {
    this.#system = system;
    this.#host = host;
    this.#lease = new HostLease(
      (options) => store.lease(options),
      leaseTtlMs,
      () => {
        for (const overlay of this.#overlays.values()) overlay.recover(true);
      },
    );
    this.#shared = { store, lease: this.#lease, tell, doubt, unsupported: () => this.close() };
  }

  /** Begins with an overlay, once one of the same name that is gone has been withdrawn. */
  add(name: string): void {
    this.#served.add(name);
    const before = this.#overlays.get(name)?.ended;
    const work = (this.#work.get(name) ?? Promise.resolve())
      .then(() => before)
      .then(() => this.#open(name))
      .finally(() => {
        if (this.#work.get(name) === work) this.#work.delete(name);
      });
    this.#work.set(name, work);
  }

  /** Leaves an overlay to another agent, with what is published of it. */
  leave(name: string): void {
    this.#served.delete(name);
    this.#overlays.get(name)?.leave();
  }

  /** The store answers again. */
  recover(name: string): void {
    this.#overlays.get(name)?.recover();
  }

  /** The overlay, once it has begun. */
  async overlay(name: string): Promise<PublishedOverlay | undefined> {
    await this.#work.get(name);
    return this.#overlays.get(name);
  }

  status(): EndpointStatus[] {
    return [...this.#overlays.values()].flatMap((overlay) => overlay.status());
  }

  holding(): PublisherEvent[] {
    return [...this.#overlays.values()].flatMap((overlay) => overlay.holding());
  }

  /** Stops. What is published stays until the lease is over, for another agent to go on with. */
  close(): void {
    this.#off = true;
    for (const overlay of this.#overlays.values()) overlay.leave();
    this.#lease.leave();
  }

  /** One that has gone meanwhile, or whose host cannot be found, is not published. */
  async #open(name: string): Promise<void> {
    const wanted = (): boolean => !this.#off && this.#served.has(name) && !this.#overlays.has(name);
    if (!wanted()) return;
    try {
      const opened = await Overlay.open(name, { host: this.#host, system: this.#system });
      if (!wanted()) {
        await opened.close();
        return;
      }
      const overlay = new PublishedOverlay(opened, this.#shared, this.#own(name));
      this.#overlays.set(name, overlay);
      void overlay.ended.then(() => {
        if (this.#overlays.get(name) === overlay) this.#overlays.delete(name);
      });
    } catch (error) {
      if (!OvernsError.is(error)) throw error;
    }
  }

  #own(name: string): Interest {
    let own = this.#addresses.get(name);
    if (own === undefined) {
      own = new Interest();
      this.#addresses.set(name, own);
    }
    return own;
  }
}
