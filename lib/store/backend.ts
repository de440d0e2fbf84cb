/** What a kind of store implements; {@link openStore} puts the public face on it. */
import type { Answer, Change, Endpoint, Query } from './contract.js';
import type { RecordStore } from './records.js';

/** How a watch is run. */
export interface WatchRun {
  readonly signal: AbortSignal;
  /** False: the watch does not keep the process alive. Default true. */
  readonly ref?: boolean | undefined;
}

/** The records of one network. Arguments are checked and canonical; the store is open. */
export interface Network {
  lookup(query: Query, signal: AbortSignal | undefined): Promise<Answer | null>;
  watch(options: WatchRun): AsyncIterable<Change>;
  publish(endpoint: Endpoint, signal: AbortSignal | undefined): Promise<void>;
  withdraw(endpoint: Endpoint, signal: AbortSignal | undefined): Promise<void>;
  records(): RecordStore;
}

/** A connection, or the memory, that networks are in. */
export interface Backend {
  network(prefix: string): Network;
  /** Names the records under a prefix; equal for two stores that hold the same ones. */
  scope(prefix: string): string;
  /** Stops everything under way. Called once. */
  close(): Promise<void>;
}
