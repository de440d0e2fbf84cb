/** How the demo is told: stages, steps with their time, misses, pings, and a table at the end. */
import type { ResolverEvent } from '../../index.js';
import { printable } from '../output.js';
import type { Container, Resolution, Result } from './subjects.js';

type Asked = Extract<ResolverEvent, { kind: 'resolved' | 'unresolved' | 'rejected' }>;

/** SGR parameters that begin a style and end it (ECMA-48, section 8.3.117). */
const STYLES = { bold: [1, 22], dim: [2, 22], red: [31, 39], green: [32, 39], cyan: [36, 39] } as const;

/** Width of the column of times. */
const TIMES = 10;

export class Story {
  readonly #print: (line: string) => void;
  readonly #colours: boolean;
  readonly #beganNs = process.hrtime.bigint();

  constructor(print: (line: string) => void, { colours = false } = {}) {
    this.#print = print;
    const { NO_COLOR, TERM } = process.env;
    this.#colours = colours && !NO_COLOR && TERM !== 'dumb';
  }

  opening(hosts: number, mode: 'root' | 'rootless'): void {
    const how = mode === 'root' ? 'as root' : 'without privileges, in a user namespace';
    this.#print(this.#in('bold', `overns demo: ${hosts} hosts on this machine, ${how}`));
  }

  stage(name: string, what: string): void {
    this.#print('');
    this.#print(`${this.#in('bold', name)}  ${what}`);
  }

  /** Something was done just now. */
  step(subject: string, detail: string): void {
    this.#at(process.hrtime.bigint(), `${subject.padEnd(12)}${detail}`);
  }

  pinging(from: Container, to: Container): void {
    this.#at(process.hrtime.bigint(), `${from.name} pings ${to.name}, ${to.ip}`);
  }

  /** Prints what the kernel asked, and what it was told. */
  miss(host: string, event: Asked): void {
    const { miss } = event;
    const question = miss.kind === 'l3' ? `who has ${miss.ip}?` : `where is ${miss.mac}?`;
    this.#at(miss.atNs, `  ${`${host}:`.padEnd(7)} ${this.#in('cyan', question)}  ${this.#answer(event)}`);
  }

  #answer(event: Asked): string {
    switch (event.kind) {
      case 'resolved': {
        const { mac, vtep } = event.endpoint;
        const whom = event.miss.kind === 'l3' ? `${mac} behind ${vtep}` : `behind ${vtep}`;
        const how = `told in ${duration(event.tookUs)}${event.by === 'store' ? ' after a lookup' : ''}`;
        return `${whom}  ${this.#in('dim', how)}`;
      }
      case 'unresolved':
        return this.#in('red', `no answer: ${printable(event.error?.message ?? event.cause)}`);
      case 'rejected':
        return this.#in('red', `an answer of no use: ${printable(event.reason)}`);
    }
  }

  pinged({ rtts, lost }: Result): void {
    const times = rtts.map((rtt) => (rtt === null ? this.#in('red', 'lost') : rtt.toFixed(2))).join('  ');
    const answered = rtts.length - lost;
    const count = answered === 1 ? '1 reply' : `${answered} replies`;
    this.#at(process.hrtime.bigint(), `  ${this.#in(lost === 0 ? 'green' : 'red', count)}  ${times} ms`);
  }

  ending(results: readonly Result[], answers: readonly Resolution[], clean: boolean): void {
    this.stage('Result', 'what each container got back');
    this.#print('');
    const rows = results.map(({ from, to, sent, lost, firstMs }) => [
      from.name,
      from.ip,
      to.name,
      to.ip,
      String(sent),
      String(lost),
      firstMs === null ? 'none' : `${firstMs.toFixed(2)} ms`,
    ]);
    const heading = ['from', '', 'to', '', 'sent', 'lost', 'first reply'];
    const widths = heading.map((text, column) => Math.max(text.length, ...rows.map((row) => row[column]?.length ?? 0)));
    const align = (cells: readonly string[]): string =>
      `  ${cells.map((cell, at) => (at < 4 ? cell.padEnd(widths[at] ?? 0) : cell.padStart(widths[at] ?? 0))).join('  ')}`;
    this.#print(this.#in('dim', align(heading)));
    results.forEach(({ lost }, at) => {
      this.#print(lost === 0 ? align(rows[at] ?? []) : this.#in('red', align(rows[at] ?? [])));
    });
    this.#print('');
    const sent = results.reduce((sum, result) => sum + result.sent, 0);
    const lost = results.reduce((sum, result) => sum + result.lost, 0);
    this.#print(
      lost === 0
        ? this.#in('green', `Nothing was lost: ${sent} pings, ${sent} replies.`)
        : this.#in('red', `${lost} of ${sent} pings were lost.`),
    );
    if (answers.length > 0) {
      const times = answers.map(({ tookUs }) => tookUs).sort((a, b) => a - b);
      const [shortest = 0, longest = 0] = [times[0], times.at(-1)];
      this.#print(
        `The kernel asked ${answers.length} times and was answered in ${duration(shortest)} to ${duration(longest)}.`,
      );
    }
    if (clean) this.#print('What was made for this is removed again.');
  }

  #at(timeNs: bigint, text: string): void {
    const ms = Number(timeNs - this.#beganNs) / 1e6;
    this.#print(`${this.#in('dim', `${ms.toFixed(1)} ms`.padStart(TIMES))}  ${text}`);
  }

  #in(style: keyof typeof STYLES, text: string): string {
    const [begin, end] = STYLES[style];
    return this.#colours ? `\u001b[${begin}m${text}\u001b[${end}m` : text;
  }
}

/** Microseconds in words. */
function duration(us: number): string {
  return us < 1000 ? `${Math.round(us)} µs` : `${(us / 1000).toFixed(1)} ms`;
}
