/** The same scene on the fake kernel and on the real one: namespaces by name, and packets between them. */
import { ping } from '../../lib/netns/ping.js';
import { machine, type System } from '../../lib/system/system.js';
import { FakeKernel } from '../../lib/testing/index.js';
import { createNetns, removeNetns, twoHosts, uniqueName } from './netns.js';

export interface Stage {
  readonly system: System;
  /** Two hosts on one underlay, 10.0.0.10/24 and 10.0.0.11/24, `lo` up. */
  hosts(): Promise<readonly [string, string]>;
  /** A namespace with nothing but `lo`, up. */
  netns(): Promise<string>;
  /** A name for an overlay; it is removed at the end of the test. */
  name(): string;
  remove(netns: string): Promise<void>;
  /** Whether a packet arrives, within 10 s. */
  send(from: string, to: string, timeoutMs?: number): Promise<boolean>;
}

export function realStage(): Stage {
  return {
    system: machine,
    hosts: async () => (await twoHosts()).map(({ name }) => name) as [string, string],
    netns: async () => (await createNetns()).name,
    name: uniqueName,
    remove: removeNetns,
    async send(from, to, timeoutMs = 10_000) {
      const [echo] = await ping(from, to, { timeoutMs });
      return echo?.rttMs !== null;
    },
  };
}

export function fakeStage(): Stage & { readonly kernel: FakeKernel } {
  const kernel = new FakeKernel();
  let names = 0;
  const make = (underlay?: string): string => {
    const name = `n${++names}`;
    kernel.addNetns(name, { underlay });
    return name;
  };
  return {
    kernel,
    system: kernel.system,
    hosts: async () => [make('10.0.0.10/24'), make('10.0.0.11/24')],
    netns: async () => make(),
    name: () => `n${++names}`,
    remove: async (netns) => kernel.removeNetns(netns),
    send: async (from, to, timeoutMs = 10_000) => (await kernel.send({ from, to, timeoutMs })).crossed,
  };
}
