/**
 * The neighbour tables of the machine, which all its namespaces share: what the kernel could not enter because they were full. It says so
 * nowhere but in a count, and whoever needed that neighbour hears nothing.
 */
import { readFile } from 'node:fs/promises';
import { OvernsError } from '../core/errors.js';
import { raiseNeighbourLimit } from '../system/remedies.js';

/**
 * The machine's table of neighbours was full, so that as many could not be entered: of containers, of overlays that others wrote, of the
 * host. Entries of a resolver are exempt. Of no overlay in particular: its name is empty.
 * @example
 * ```ts
 * import type { NeighborsFullEvent } from 'overns';
 *
 * const line = ({ family, refused }: NeighborsFullEvent): string => `${refused} ${family} neighbours too many`;
 * console.log(line.length); // 1
 * ```
 */
export interface NeighborsFullEvent {
  readonly overlay: '';
  readonly kind: 'neighbors-full';
  readonly family: 'ipv4' | 'ipv6';
  /** Since it was told last, or the agent was started. */
  readonly refused: number;
  /** Names the limit, and what raises it. */
  readonly error: OvernsError;
}

/** Counts that only the machine's first network namespace shows, a line for each CPU below their names. */
const TABLES = { ipv4: 'arp_cache', ipv6: 'ndisc_cache' } as const;
/** How often they are looked at, milliseconds. */
const LOOK_MS = 10_000;

export class NeighborLimit implements Disposable {
  /** Fulfils once it is known what was refused before. */
  readonly begun: Promise<void>;
  readonly #proc: string;
  readonly #tell: (event: NeighborsFullEvent) => void;
  readonly #seen = new Map<string, number>();
  readonly #timer: NodeJS.Timeout;

  /** @param proc where the proc filesystem is */
  constructor(tell: (event: NeighborsFullEvent) => void, proc: string, everyMs = LOOK_MS) {
    this.#proc = proc;
    this.#tell = tell;
    this.begun = this.#look();
    this.#timer = setInterval(() => void this.#look(), everyMs);
    this.#timer.unref();
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }

  async #look(): Promise<void> {
    for (const family of ['ipv4', 'ipv6'] as const) {
      const count = countOf(await this.#read(`net/stat/${TABLES[family]}`));
      const before = this.#seen.get(family);
      if (count === undefined) continue;
      this.#seen.set(family, count);
      if (before === undefined || count <= before) continue;
      const limit = Number.parseInt(await this.#read(`sys/net/${family}/neigh/default/gc_thresh3`), 10);
      const [name, most] = [family === 'ipv4' ? 'IPv4' : 'IPv6', Number.isNaN(limit) ? '' : `, ${limit} entries`];
      const error = new OvernsError('ENOBUFS', `the machine's table of ${name} neighbours is full${most}`, {
        hint: raiseNeighbourLimit(family),
      });
      this.#tell({ overlay: '', kind: 'neighbors-full', family, refused: count - before, error });
    }
  }

  #read(name: string): Promise<string> {
    return readFile(`${this.#proc}/${name}`, 'latin1').catch(() => '');
  }
}

/** The sum of a column of hexadecimal numbers. */
function countOf(text: string): number | undefined {
  const [names = '', ...lines] = text.trim().split('\n');
  const column = names.split(/\s+/).indexOf('table_fulls');
  if (column === -1) return undefined;
  return lines.reduce((sum, line) => sum + Number.parseInt(line.split(/\s+/)[column] ?? '0', 16), 0);
}
