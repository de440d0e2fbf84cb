// @ts-check
/** A ping every millisecond, as long as one likes, and how long it was without an answer. */
import { setTimeout as sleep } from 'node:timers/promises';
import { Running } from './process.mjs';

export class Pings {
  #process;

  /** @param {string} netns path @param {string} ip */
  constructor(netns, ip) {
    this.#process = new Running(['ping', '-n', '-D', '-i', '0.001', '-W', '1', ip], { netns });
  }

  /** By number: when it was sent and answered, milliseconds. */
  #answers() {
    const lines = this.#process.stdout.matchAll(/^\[(\d+\.\d+)\] .*icmp_seq=(\d+) .*time=([\d.]+) ms/gm);
    return Array.from(lines, ([, at, number, took]) => {
      const answered = Number(at) * 1000;
      return { number: Number(number), sent: answered - Number(took), answered };
    });
  }

  /** Waits for the answer to one that was sent after a time, ten seconds at most. @param {number} time */
  async after(time) {
    for (const until = Date.now() + 10_000; ; await sleep(5)) {
      if ((this.#answers().at(-1)?.sent ?? 0) > time) return;
      if (Date.now() > until) throw new Error('no answer for ten seconds');
    }
  }

  /**
   * Ends it. The longest outage: from the last one that was answered before those that were lost to the first behind them, both
   * as they were sent; 0 if none was lost.
   */
  async stop() {
    this.#process.child.kill('SIGINT');
    await this.#process.exited;
    const answers = this.#answers().sort((a, b) => a.number - b.number);
    let outage = 0;
    let lost = 0;
    for (const [at, { number, sent }] of answers.entries()) {
      const before = answers[at - 1];
      // The number has sixteen bits.
      if (before === undefined || number <= before.number + 1) continue;
      lost += number - before.number - 1;
      outage = Math.max(outage, sent - before.sent);
    }
    return { outage, lost };
  }
}
