/** Output to stdout and stderr, and how it looks. */
import type { Writable } from 'node:stream';
import { argumentInCommands, hintInCommands, inCommands } from './commands.js';

/** From the quietest to the most talkative. */
export const LEVELS = ['error', 'warn', 'info', 'debug'] as const;
export type Level = (typeof LEVELS)[number];

/** Results: stdout. */
export class Output {
  readonly #stream: Writable;
  constructor(stream: Writable) {
    this.#stream = stream;
  }

  /** Lines of text. Resolves when more may be written. */
  async lines(lines: readonly string[]): Promise<void> {
    if (lines.length === 0) return;
    await write(this.#stream, `${lines.join('\n')}\n`);
  }

  /** JSON values, one a line. */
  async json(...values: readonly unknown[]): Promise<void> {
    await this.lines(values.map(toJson));
  }
}

/** Progress and logs: stderr. */
export class Log {
  readonly #stream: Writable;
  readonly #level: number;
  readonly #timed: boolean;
  /** @param timed lines are `TIME LEVEL TEXT`, the time in ISO 8601: for what runs for days */
  constructor(stream: Writable, level: Level, timed = false) {
    this.#stream = stream;
    this.#level = LEVELS.indexOf(level);
    this.#timed = timed;
  }

  has(level: Level): boolean {
    return LEVELS.indexOf(level) <= this.#level;
  }

  /** A word of progress that a waiting caller depends on: said at every level, exactly so. */
  say(text: string): void {
    this.#stream.write(`${printable(text)}\n`);
  }
  error(text: string): void {
    this.#write('error', 'error: ', text);
  }
  warn(text: string): void {
    this.#write('warn', 'warning: ', text);
  }
  info(text: string): void {
    this.#write('info', '', text);
  }
  debug(text: string): void {
    this.#write('debug', 'debug: ', text);
  }

  #write(level: Level, words: string, text: string): void {
    if (!this.has(level)) return;
    const line = inCommands(text);
    this.say(this.#timed ? `${new Date().toISOString()} ${level} ${line}` : words + line);
  }
}

async function write(stream: Writable, text: string): Promise<void> {
  if (stream.destroyed || stream.writableEnded) return;
  if (stream.write(text)) return;
  await new Promise<void>((resolve) => {
    const done = (): void => {
      for (const event of ['drain', 'close', 'error']) stream.off(event, done);
      resolve();
    };
    for (const event of ['drain', 'close', 'error']) stream.once(event, done);
  });
}

/** JSON of what the library gives: bigint as a string (2^53 is too small for nanoseconds), errors as what they say. */
export function toJson(value: unknown): string {
  return JSON.stringify(value, (_key, item: unknown) => {
    if (typeof item === 'bigint') return item.toString();
    if (item instanceof Error) return describe(item);
    return item;
  });
}

/** An error as a plain object. */
export function describe(error: Error): Record<string, unknown> {
  const { code, hint, errno, syscall, kernelMessage, attribute, netns, holder } = error as Error &
    Record<string, unknown>;
  return {
    code: code ?? error.name,
    message: messageOf(error),
    hint: typeof hint === 'string' ? hintInCommands(hint) : undefined,
    errno,
    syscall,
    kernelMessage,
    attribute,
    netns,
    holder,
  };
}

function messageOf(error: Error): string {
  const { code, message } = error as NodeJS.ErrnoException;
  return inCommands(code?.startsWith('ERR_INVALID_ARG') ? argumentInCommands(message) : message);
}

/** An error in one line: what failed, and what to do about it. */
export function errorWords(error: Error): string {
  const hint = hintInCommands((error as Error & { readonly hint?: string }).hint);
  const message = messageOf(error);
  return printable(hint === undefined ? message : `${message}; ${hint}`);
}

/** Control characters, and those that break lines or change the direction of writing. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const UNPRINTABLE = /[\u0000-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g;

/** Text of another's making, safe to print in one line: no control characters, no escape sequences, no line breaks. */
export function printable(text: string): string {
  return text.replace(/\s*[\r\n]+\s*/g, ' ').replace(UNPRINTABLE, (character) => {
    const code = character.charCodeAt(0);
    return code < 0x100 ? `\\x${code.toString(16).padStart(2, '0')}` : `\\u${code.toString(16).padStart(4, '0')}`;
  });
}

/** Columns, two spaces apart, under a heading; the last column is left ragged. */
export function table(heading: readonly string[], rows: readonly (readonly string[])[], indent = ''): string[] {
  const cells = [heading, ...rows].map((row) => row.map(printable));
  const widths = heading.map((_, column) => Math.max(...cells.map((row) => (row[column] ?? '').length)));
  return cells.map(
    (row) =>
      indent +
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd(),
  );
}
