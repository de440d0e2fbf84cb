/** Things that the demo is about: its hosts and containers, and what became of the pings between them. */
import type { Overlay } from '../../index.js';

export interface DemoOptions {
  /** A store URL; undefined = a store inside the demo. */
  readonly store: string | undefined;
  /** Test hosts, 2 or more. */
  readonly hosts: number;
}

export interface Host {
  /** As the story calls it. Its namespaces have longer names. */
  readonly name: string;
  /** Its underlay address. */
  readonly ip: string;
  readonly netns: string;
}

/** A test container: a namespace that is attached to its host's overlay. */
export interface Container {
  readonly name: string;
  readonly ip: string;
  readonly mac: string;
  readonly netns: string;
  readonly host: Host;
  readonly overlay: Overlay;
}

/** One way from a container to another. */
export interface Result {
  readonly from: Container;
  readonly to: Container;
  readonly sent: number;
  readonly lost: number;
  /** From the first request to the first reply, milliseconds; null = there was none. */
  readonly firstMs: number | null;
  /** Time of each request, milliseconds; null = lost. */
  readonly rtts: readonly (number | null)[];
}

/** A question of the kernel's, answered. */
export interface Resolution {
  readonly host: string;
  readonly ip?: string;
  readonly mac: string;
  readonly vtep: string;
  readonly by: 'table' | 'store';
  readonly tookUs: number;
}
