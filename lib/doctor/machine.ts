/** The process and its machine, as several checks look at them. */
import { readFile } from 'node:fs/promises';
import { CAPABILITY, type Capability } from '../system/remedies.js';

/** Privileges and limits of this process. */
export class Machine {
  readonly #capabilities: bigint;
  readonly #limits: string;
  /** False inside a user namespace: what is forced or system-wide is not allowed there, whatever the capabilities say. */
  readonly initialUserns: boolean;

  private constructor(capabilities: bigint, limits: string, initialUserns: boolean) {
    this.#capabilities = capabilities;
    this.#limits = limits;
    this.initialUserns = initialUserns;
  }

  static async look(): Promise<Machine> {
    const status = await text('/proc/self/status');
    const effective = /^CapEff:\s*([0-9a-f]+)$/m.exec(status ?? '')?.[1] ?? '0';
    const map = (await text('/proc/self/uid_map')) ?? '';
    return new Machine(
      BigInt(`0x${effective}`),
      (await text('/proc/self/limits')) ?? '',
      /^\s*0\s+0\s+4294967295\s*$/.test(map),
    );
  }

  has(capability: Capability): boolean {
    return ((this.#capabilities >> BigInt(CAPABILITY[capability])) & 1n) === 1n;
  }

  /** The soft limit of that title; Infinity = unlimited, undefined = not to be read. */
  limit(title: string): number | undefined {
    const found = new RegExp(`^${title}\\s+(\\S+)`, 'm').exec(this.#limits)?.[1];
    if (found === undefined) return undefined;
    return found === 'unlimited' ? Number.POSITIVE_INFINITY : Number(found);
  }
}

export async function text(path: string): Promise<string | undefined> {
  return readFile(path, 'utf8').then(
    (content) => content.trim(),
    () => undefined,
  );
}

export async function number(path: string): Promise<number | undefined> {
  const content = await text(path);
  return content !== undefined && /^\d+$/.test(content) ? Number(content) : undefined;
}
