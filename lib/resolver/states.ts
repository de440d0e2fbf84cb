/** The states of an overlay, which hold until an event ends them: told to whoever listens or asks later. */
import type { OverlayStatus, ResolverEvent } from './events.js';

type Kind = ResolverEvent['kind'];

/** Each begins a state. */
const BEGINS = ['store-down', 'grace', 'punt-off', 'overlay-lost'] as const satisfies readonly Kind[];
type Begin = (typeof BEGINS)[number];

/** Kind of the event that ends it. */
const ENDS: Partial<Record<Kind, Begin>> = {
  'store-up': 'store-down',
  'grace-over': 'grace',
  'punt-on': 'punt-off',
  'overlay-back': 'overlay-lost',
};

interface State {
  readonly event: ResolverEvent;
  readonly since: Date;
}

/** The states of one overlay, as its events make them. */
export class OverlayStates {
  readonly #states = new Map<Kind, State>();
  /** When the store came up. */
  #up = new Date();
  /** The store's last error. */
  error: Error | undefined;

  note(event: ResolverEvent): void {
    const ended = ENDS[event.kind];
    if (ended !== undefined) this.#states.delete(ended);
    if (event.kind === 'sync') {
      // As it is from the start, unless there is more to tell.
      if (event.error === undefined) this.#states.delete(event.kind);
      else this.#states.set(event.kind, { event, since: new Date() });
    }
    if (event.kind === 'store-up') this.#up = new Date();
    if ((BEGINS as readonly Kind[]).includes(event.kind)) this.#states.set(event.kind, { event, since: new Date() });
  }

  get lost(): boolean {
    return this.#states.has('overlay-lost');
  }

  /** Events that hold, as they were told, the oldest first. */
  events(): ResolverEvent[] {
    return Array.from(this.#states.values(), ({ event }) => event);
  }

  status(): Omit<OverlayStatus, 'overlay' | 'vni' | 'stats' | 'sync' | 'syncReason'> {
    const down = this.#states.get('store-down');
    const off = this.#states.get('punt-off')?.event;
    const lost = this.#states.get('overlay-lost');
    const doubted = this.#states.get('grace');
    const error = down && (this.error ?? (down.event.kind === 'store-down' ? down.event.error : undefined));
    return {
      store: down ? 'down' : 'up',
      since: down?.since ?? this.#up,
      ...(error && { error }),
      punt: off === undefined,
      ...(off?.kind === 'punt-off' && { noPunt: off.reason }),
      ...(doubted?.event.kind === 'grace' && { grace: graceOf(doubted.event, doubted.since) }),
      lost: lost !== undefined,
      ...(lost && { lostSince: lost.since }),
    };
  }
}

function graceOf({ listed, missing, graceMs }: Extract<ResolverEvent, { kind: 'grace' }>, since: Date) {
  return { listed, missing, graceMs, since };
}
