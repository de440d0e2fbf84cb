/**
 * The grace period of a listing that lacks much of what was known: a store that came back empty, or as it was some time ago. All of it
 * is served on until every host that lives has had the time to publish again.
 */
import type { NativeReactor } from '../system/native.js';

/** Figures of a listing that is doubted. */
export interface Doubt {
  /** The addresses that the store lists. */
  readonly listed: number;
  /** The addresses that it lacks of those that were known. */
  readonly missing: number;
  readonly graceMs: number;
}

/** A listing that the thread has taken. */
interface Listing {
  readonly listed: number;
  readonly missing: number;
  /** Older than what was seen. */
  readonly older: boolean;
  /** What it lacks was not asked for. */
  readonly believed: boolean;
}

/** Whom it tells. */
export interface GraceOwner {
  doubted(doubt: Doubt): void;
  /** It is over, and as many addresses have been withdrawn. */
  settled(withdrawn: number): void;
}

/** How long after a change it is looked whether all is there again, milliseconds: the thread has taken it in by then. */
const LOOK_MS = 100;

export class Grace {
  readonly #thread: NativeReactor;
  readonly #id: number;
  readonly #graceMs: number;
  readonly #owner: GraceOwner;
  #lasts = false;
  #timer: NodeJS.Timeout | undefined;
  #looking: NodeJS.Timeout | undefined;

  constructor(thread: NativeReactor, id: number, graceMs: number, owner: GraceOwner) {
    this.#thread = thread;
    this.#id = id;
    this.#graceMs = graceMs;
    this.#owner = owner;
  }

  /**
   * Judges a listing that the thread has taken: withdraws what it lacks, or begins the grace period anew where that is more than
   * it lists, where it is older than what was seen, or while the last one is doubted still. True: it is doubted.
   */
  async judge({ listed, missing, older, believed }: Listing): Promise<boolean> {
    const doubted = missing > 0 && this.#graceMs > 0 && !believed && (older || missing > listed || this.#lasts);
    if (doubted) {
      this.#lasts = true;
      this.#owner.doubted({ listed, missing, graceMs: this.#graceMs });
      this.goOn();
      return true;
    }
    if (this.#lasts) this.#end(missing);
    if (missing > 0) await this.#thread.sweep(this.#id);
    return false;
  }

  /** Something has changed: once all that was missing is there again there is nothing to wait for. */
  changed(): void {
    if (!this.#lasts || this.#looking !== undefined) return;
    this.#looking = setTimeout(() => {
      this.#looking = undefined;
      if (this.#lasts && this.#thread.stats(this.#id).missing === 0) void this.#confirm();
    }, LOOK_MS);
    this.#looking.unref();
  }

  /** The store can be asked again, and has the history that it had: only then it confirms anything. */
  goOn(): void {
    this.pause();
    if (!this.#lasts) return;
    this.#timer = setTimeout(() => void this.#confirm(), this.#graceMs);
    this.#timer.unref();
  }

  /** The store cannot be asked. */
  pause(): void {
    clearTimeout(this.#timer);
  }

  close(): void {
    this.pause();
    clearTimeout(this.#looking);
    this.#lasts = false;
  }

  async #confirm(): Promise<void> {
    const { missing = 0 } = this.#thread.stats(this.#id);
    // Behind this, a listing that comes meanwhile is judged by itself.
    this.#end(missing);
    await this.#thread.sweep(this.#id);
  }

  #end(withdrawn: number): void {
    this.pause();
    this.#lasts = false;
    this.#owner.settled(withdrawn);
  }
}
