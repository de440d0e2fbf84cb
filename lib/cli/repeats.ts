/** Bounds what an agent says again and again: a kind of message a few times a minute, and how often it was in all. */

const MINUTE_MS = 60_000;

interface Window {
  shown: number;
  /** What has been said something about. */
  readonly said: Set<string>;
  /** Number not shown, and yet to be told of. */
  count: number;
  readonly timer: NodeJS.Timeout;
  readonly total: (count: number) => void;
}

export class Repeats implements Disposable {
  readonly #everyMs: number;
  readonly #windows = new Map<string, Window>();

  constructor(everyMs = MINUTE_MS) {
    this.#everyMs = everyMs;
  }

  /**
   * Says something, unless as many of its kind were said within the minute.
   * @param total tells at the end of the minute how many were not said
   * @param about is said something about once a minute; absent: as often as it comes
   */
  say(kind: string, most: number, say: () => void, total: (count: number) => void, about?: string): void {
    let window = this.#windows.get(kind);
    if (window === undefined) {
      const timer = setTimeout(() => this.#end(kind), this.#everyMs);
      timer.unref();
      window = { shown: 0, said: new Set(), count: 0, timer, total };
      this.#windows.set(kind, window);
    }
    if (window.shown < most && (about === undefined || !window.said.has(about))) {
      window.shown++;
      if (about !== undefined) window.said.add(about);
      say();
    } else {
      window.count++;
    }
  }

  /** Tells of all that was not said. */
  [Symbol.dispose](): void {
    for (const kind of [...this.#windows.keys()]) this.#end(kind);
  }

  #end(kind: string): void {
    const window = this.#windows.get(kind);
    if (window === undefined) return;
    clearTimeout(window.timer);
    this.#windows.delete(kind);
    if (window.count > 0) window.total(window.count);
  }
}

/** A line about an outage of the store. */
export interface OutageReport {
  readonly overlays: number;
  /** Misses without an answer so far. */
  readonly missed: number;
  readonly seconds: number;
  /** The store's last error. */
  readonly message: string | undefined;
}

/** How long the overlays of one store are given to notice that it cannot be used, before it is said of how many. */
const GATHER_MS = 200;

/** One outage of the store, of however many overlays: told when it begins, once a minute, and when it ends. */
export class Outage implements Disposable {
  readonly #tell: (what: 'begins' | 'lasts' | 'ends', report: OutageReport) => void;
  readonly #everyMs: number;
  readonly #down = new Set<string>();
  /** All that were down at some time of it. */
  readonly #hit = new Set<string>();
  #began: number | undefined;
  #missed = 0;
  #message: string | undefined;
  #gather: NodeJS.Timeout | undefined;
  #minute: NodeJS.Timeout | undefined;

  constructor(tell: (what: 'begins' | 'lasts' | 'ends', report: OutageReport) => void, everyMs = MINUTE_MS) {
    this.#tell = tell;
    this.#everyMs = everyMs;
  }

  down(overlay: string, message: string | undefined): void {
    this.#message = message ?? this.#message;
    this.#hit.add(overlay);
    this.#down.add(overlay);
    if (this.#began !== undefined) return;
    this.#began = performance.now();
    this.#gather = setTimeout(() => this.#begin(), GATHER_MS);
  }

  /** The overlay's store answers again, or it is not served any more. */
  up(overlay: string): void {
    if (!this.#down.delete(overlay) || this.#down.size > 0) return;
    this.#begin();
    this.#tell('ends', this.#report());
    clearInterval(this.#minute);
    this.#hit.clear();
    this.#began = undefined;
    this.#missed = 0;
    this.#message = undefined;
  }

  /** A miss without an answer. False if there is no outage that explains it. */
  missed(overlay: string): boolean {
    if (!this.#down.has(overlay)) return false;
    this.#missed++;
    return true;
  }

  [Symbol.dispose](): void {
    this.#begin();
    clearInterval(this.#minute);
  }

  #begin(): void {
    if (this.#gather === undefined) return;
    clearTimeout(this.#gather);
    this.#gather = undefined;
    this.#tell('begins', this.#report());
    this.#minute = setInterval(() => this.#tell('lasts', this.#report()), this.#everyMs);
    this.#minute.unref();
  }

  #report(): OutageReport {
    return {
      overlays: this.#down.size || this.#hit.size,
      missed: this.#missed,
      seconds: Math.round((performance.now() - (this.#began ?? 0)) / 1000),
      message: this.#message,
    };
  }
}
