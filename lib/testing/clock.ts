/** Time as the fake kernel has it: the machine's, and what a test has put in front. */

// The functions as they are before a test replaces them: fake timers must not stop the kernel.
const { setImmediate, setTimeout, clearTimeout } = globalThis;
const monotonic = process.hrtime.bigint;

/** A turn of the event loop later, as the addon's threads come back. */
export const soon = (run: () => void): void => void setImmediate(run);
export const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

export class Clock {
  #ahead = 0n;
  readonly #alarms = new Set<Alarm>();

  /** CLOCK_MONOTONIC. */
  now(): bigint {
    return monotonic() + this.#ahead;
  }

  advance(ms: number): void {
    this.#ahead += BigInt(Math.round(ms * 1e6));
    for (const alarm of [...this.#alarms]) alarm.check();
  }

  /** Something to be done at a time that can be put off and brought forward. */
  alarm(run: () => void, mode: 'ref' | 'unref' = 'unref'): Alarm {
    return new Alarm(this, this.#alarms, run, mode);
  }
}

export class Alarm {
  readonly #clock: Clock;
  readonly #all: Set<Alarm>;
  readonly #run: () => void;
  /** `ref`: it keeps the process alive. */
  readonly #mode: 'ref' | 'unref';
  #at: bigint | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(clock: Clock, all: Set<Alarm>, run: () => void, mode: 'ref' | 'unref') {
    this.#clock = clock;
    this.#mode = mode;
    this.#all = all;
    this.#run = run;
  }

  set(at: bigint | undefined): void {
    clearTimeout(this.#timer);
    this.#at = at;
    if (at === undefined) {
      this.#all.delete(this);
      return;
    }
    this.#all.add(this);
    const ms = Number(at - this.#clock.now()) / 1e6;
    this.#timer = setTimeout(() => this.check(), Math.min(Math.max(1, Math.ceil(ms)), 0x7fff_ffff));
    if (this.#mode === 'unref') this.#timer.unref();
  }

  check(): void {
    if (this.#at === undefined) return;
    if (this.#at > this.#clock.now()) {
      this.set(this.#at); // early, or further away than a timer reaches
      return;
    }
    this.set(undefined);
    this.#run();
  }
}
