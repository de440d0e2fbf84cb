/** Listeners to a resolver's events: each hears of the kinds that it wants, and first of the states that hold. */
import { channel } from 'node:diagnostics_channel';
import { invalidArgument, invalidType } from '../core/errors.js';
import { EVENT_BITS } from '../system/native.js';
import type { ResolverEvent } from './events.js';

export type Kind = ResolverEvent['kind'];

/** Every event of every resolver, for observers that do not hold one. */
const eventChannel = channel('overns:resolver:event');

const KINDS = [
  'resolved',
  'unresolved',
  'rejected',
  'unreadable',
  'contradicted',
  'overrun',
  'overflow',
  'store-down',
  'store-up',
  'grace',
  'grace-over',
  'punt-off',
  'punt-on',
  'overlay-lost',
  'overlay-back',
  'sync',
] as const satisfies readonly ResolverEvent['kind'][];

export const ALL_KINDS: ReadonlySet<Kind> = new Set(KINDS);

export function checkKinds(kinds: unknown, name: string): ReadonlySet<Kind> {
  if (!Array.isArray(kinds)) throw invalidType(name, kinds, 'an array');
  if (kinds.length === 0) throw invalidArgument(name, '[]', `some of ${KINDS.join(', ')}`);
  for (const kind of kinds) if (!KINDS.includes(kind)) throw invalidArgument(name, kind, `one of ${KINDS.join(', ')}`);
  return new Set(kinds);
}

export interface Listener {
  readonly kinds: ReadonlySet<Kind>;
  readonly tell: (events: readonly ResolverEvent[]) => void;
}

export class Listeners {
  /** Each with whether it has been told what holds. */
  readonly #all = new Map<Listener, { joined: boolean }>();
  readonly #changed: () => void;
  readonly #states: () => readonly ResolverEvent[];

  /**
   * @param changed called when other events are wanted than before
   * @param states the events of states that hold
   */
  constructor(changed: () => void, states: () => readonly ResolverEvent[]) {
    this.#changed = changed;
    this.#states = states;
  }

  add(listener: Listener): void {
    this.#all.set(listener, { joined: false });
    this.#changed();
    // Not before this call has returned, and behind what is being told already, which may end a state.
    queueMicrotask(() => {
      const entry = this.#all.get(listener);
      if (entry === undefined) return;
      const wanted = this.#states().filter(({ kind }) => listener.kinds.has(kind));
      if (wanted.length > 0) listener.tell(wanted);
      entry.joined = true;
    });
  }

  delete(listener: Listener): void {
    this.#all.delete(listener);
    this.#changed();
  }

  clear(): void {
    this.#all.clear();
  }

  /** The native events that anybody wants, as bits. Nobody asks: nothing is converted. */
  get mask(): number {
    let mask = eventChannel.hasSubscribers ? ~0 : 0;
    for (const { kinds } of this.#all.keys()) {
      for (const kind of kinds) mask |= EVENT_BITS[kind as keyof typeof EVENT_BITS] ?? 0;
    }
    return mask;
  }

  tell(events: readonly ResolverEvent[]): void {
    if (eventChannel.hasSubscribers) for (const event of events) eventChannel.publish(event);
    for (const [{ kinds, tell }, { joined }] of this.#all) {
      if (!joined) continue;
      const wanted = kinds.size === KINDS.length ? events : events.filter((event) => kinds.has(event.kind));
      if (wanted.length > 0) tell(wanted);
    }
  }
}
