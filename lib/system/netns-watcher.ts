/** A directory of named namespaces: what comes and goes there, as inotify(7) tells. */
import { type FSWatcher, readdirSync, statSync, watch } from 'node:fs';
import { join } from 'node:path';
import { OWN_NETNS } from './nsfs.js';

/**
 * When a name that changed is looked at, milliseconds after the change: a name is a file first, and a namespace once
 * that is mounted on it, of which inotify says nothing.
 */
const LOOKS = [0, 2, 10, 50, 250, 1000, 4000];
/** How long after the last change all names are looked at, milliseconds: inotify's own queue may have overflowed. */
const QUIET_MS = 1000;
/** How often a directory that is not there is looked for, milliseconds. */
const DIRECTORY_MS = 500;

/** Keeps the process alive while something is watched, unless unref() was called. */
export interface NetnsWatch {
  close(): void;
  ref(): void;
  unref(): void;
}

/** Calls `changed` for each name in a directory that becomes a namespace or stops being one. */
export class NetnsWatcher implements NetnsWatch {
  readonly #directory: string;
  readonly #changed: (action: 'new' | 'delete', name: string) => void;
  /** Identity of what each name leads to. Looked at synchronously: it takes microseconds, and nothing comes in between. */
  readonly #known = new Map<string, string>();
  readonly #due = new Map<string, NodeJS.Timeout>();
  #watcher: FSWatcher | undefined;
  #retry: NodeJS.Timeout | undefined;
  #quiet: NodeJS.Timeout | undefined;
  #closed = false;
  #referenced = true;

  constructor(directory: string, changed: (action: 'new' | 'delete', name: string) => void) {
    this.#directory = directory;
    this.#changed = changed;
    this.#watch();
    this.#lookAtAll(false);
  }

  close(): void {
    this.#closed = true;
    this.#watcher?.close();
    for (const timer of this.#timers()) clearTimeout(timer);
    this.#due.clear();
  }

  ref(): void {
    this.#referenced = true;
    this.#watcher?.ref();
    for (const timer of this.#timers()) timer?.ref();
  }

  unref(): void {
    this.#referenced = false;
    this.#watcher?.unref();
    for (const timer of this.#timers()) timer?.unref();
  }

  #timers(): (NodeJS.Timeout | undefined)[] {
    return [this.#retry, this.#quiet, ...this.#due.values()];
  }

  #later(run: () => void, ms: number): NodeJS.Timeout {
    const timer = setTimeout(run, ms);
    return this.#referenced ? timer : timer.unref();
  }

  #watch(): void {
    try {
      this.#watcher = watch(this.#directory, (_event, name) => {
        if (name === null) return;
        this.#lookLater(name, 0);
        clearTimeout(this.#quiet);
        this.#quiet = this.#later(() => this.#lookAtAll(true), QUIET_MS);
      });
      this.#watcher.on('error', () => this.#rewatch());
      if (!this.#referenced) this.#watcher.unref();
    } catch {
      this.#rewatch();
    }
  }

  /** There is no directory before the first named namespace. */
  #rewatch(): void {
    this.#watcher?.close();
    if (this.#closed) return;
    this.#retry = this.#later(() => {
      this.#watch();
      this.#lookAtAll(true);
    }, DIRECTORY_MS);
  }

  #lookLater(name: string, look: number): void {
    clearTimeout(this.#due.get(name));
    this.#due.delete(name);
    const delay = LOOKS[look];
    if (delay === undefined || this.#closed) return;
    const timer = this.#later(() => {
      this.#due.delete(name);
      this.#look(name, true);
      if (!this.#known.has(name)) this.#lookLater(name, look + 1);
    }, delay);
    this.#due.set(name, timer);
  }

  #lookAtAll(tell: boolean): void {
    let names: string[] = [];
    try {
      names = readdirSync(this.#directory);
    } catch {
      // none
    }
    for (const name of new Set([...names, ...this.#known.keys()])) this.#look(name, tell);
  }

  #look(name: string, tell: boolean): void {
    const identity = identityOf(join(this.#directory, name));
    const before = this.#known.get(name);
    if (this.#closed || identity === before) return;
    if (before !== undefined) {
      this.#known.delete(name);
      if (tell) this.#changed('delete', name);
    }
    if (identity !== undefined && !this.#closed) {
      this.#known.set(name, identity);
      if (tell) this.#changed('new', name);
    }
  }
}

/** The namespace that a path leads to: undefined if not to a namespace, which lie on nsfs, of which there is one. */
function identityOf(path: string): string | undefined {
  try {
    const { dev, ino } = statSync(path, { bigint: true });
    return dev === statSync(OWN_NETNS, { bigint: true }).dev ? `${ino}` : undefined;
  } catch {
    return undefined;
  }
}
