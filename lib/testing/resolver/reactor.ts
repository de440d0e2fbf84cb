/** The resolver thread without a thread: calls and batches cross it in the order in which the addon's do. */
import { canonicalIp, canonicalMac } from '../../core/address.js';
import type { NativeEvent, NativeLookup, NativeReactor } from '../../system/native.js';
import type { Machine } from '../machine.js';
import { type Endpoint, type LookupResult, OverlayPort, type PortOptions } from './overlay-port.js';

type Batch = (events: NativeEvent[], lookups: NativeLookup[], overflow: number) => void;

export class FakeReactor implements NativeReactor {
  readonly #machine: Machine;
  readonly #onBatch: Batch;
  readonly #ports = new Map<number, OverlayPort>();
  /** Overlays that are about to be added: which events of them are wanted, and the calls that wait for them. */
  readonly #expected = new Map<number, { wanted: number; readonly tasks: ((port: OverlayPort) => void)[] }>();
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

  async add(id: number, options: PortOptions): Promise<{ readonly noPunt?: string; readonly kept: readonly string[] }> {
    await this.#machine.turn();
    if (this.#closed) throw new Error('the resolver is closed');
    const port = new OverlayPort(this.#machine, id, options, {
      event: (event) => this.#report(() => this.#events.push(event)),
      lookup: (lookup) => this.#report(() => this.#lookups.push(lookup)),
    });
    this.#ports.set(id, port);
    const expected = this.#expected.get(id);
    this.#expected.delete(id);
    port.wanted = expected?.wanted ?? 0;
    for (const task of expected?.tasks ?? []) task(port);
    return { kept: port.kept, ...(port.noPunt !== undefined && { noPunt: port.noPunt }) };
  }

  alone(): void {} // nobody leaves an entry behind here

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

  reset(id: number, endpoints: readonly string[], unreadable: number[]): Promise<number> {
    const all = readEndpoints(endpoints, unreadable);
    return this.#work(id, (port) => {
      port.onUnreadable(unreadable.length);
      port.reset(all);
    });
  }
  sweep(id: number): Promise<number> {
    return this.#work(id, (port) => port.sweep());
  }
  #work(id: number, task: (port: OverlayPort) => void): Promise<number> {
    return new Promise((resolve) => {
      let missing = 0;
      this.#later(id, (port) => {
        task(port);
        missing = port.missing;
      });
      this.#machine.later(() => resolve(missing));
    });
  }
  put(id: number, endpoints: readonly string[], unreadable: number[]): void {
    const all = readEndpoints(endpoints, unreadable);
    this.#later(id, (port) => {
      port.onUnreadable(unreadable.length);
      for (const each of all) port.put(each);
    });
  }
  forget(id: number, key: string, keep?: boolean): void {
    this.#later(id, (port) => port.forget(key, keep));
  }
  answer(id: number, token: number, key: string, result: Exclude<LookupResult, 'found'>): void;
  answer(id: number, token: number, key: string, result: 'found', mac: string, vtep: string, ttlMs?: number): boolean;
  answer(id: number, token: number, key: string, result: LookupResult, mac = '', vtep = '', ttlMs?: number): boolean {
    const location = { mac, vtep, ttlMs };
    if (result === 'found') {
      try {
        location.mac = canonicalMac(mac);
        location.vtep = canonicalIp(vtep);
      } catch {
        return false;
      }
    }
    this.#later(id, (port) => port.answer(token, key, result, location));
    return true;
  }
  storeDown(id: number, down: boolean): void {
    this.#later(id, (port) => {
      port.storeDown = down;
    });
  }
  want(id: number, mask: number): void {
    const overlay = this.#ports.get(id) ?? this.#expected.get(id);
    if (overlay) overlay.wanted = mask;
  }
  stats(id: number): Record<string, number> {
    const port = this.#ports.get(id);
    return { ...port?.stats, endpoints: port?.endpoints ?? 0, missing: port?.missing ?? 0 };
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

  /** Runs in another thread's turn, in order. */
  #later(id: number, run: (port: OverlayPort) => void): void {
    this.#machine.later(() => {
      const port = this.#ports.get(id);
      if (port) run(port);
      else this.#expected.get(id)?.tasks.push(run);
    });
  }

  #report(add: () => unknown): void {
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

/** Leaves out what cannot be read, and adds its number to `unreadable`. */
function readEndpoints(flat: readonly unknown[], unreadable: number[]): Endpoint[] {
  const found: Endpoint[] = [];
  for (let at = 0; at + 2 < flat.length; at += 3) {
    try {
      found.push({ ip: canonicalIp(flat[at]), mac: canonicalMac(flat[at + 1]), vtep: canonicalIp(flat[at + 2]) });
    } catch {
      unreadable.push(at / 3);
    }
  }
  return found;
}
