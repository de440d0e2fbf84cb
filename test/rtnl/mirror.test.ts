/**
 * A mirror that is kept as the documentation says (identityOf) stays what Rtnl lists, and what iproute2 lists, whatever
 * is done to a namespace and whatever the kernel does by itself.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { identityOf, Rtnl, type RtnlSyncEvent, type Subscription } from '../../lib/index.js';
import { byIproute2, type Json, listRows, type Rows, stateOf } from '../support/listings.js';
import { createNetns, exec, type Netns } from '../support/netns.js';
import { describeWith } from '../support/requirements.js';
import { seedOf } from '../support/seed.js';
import { SCENARIOS } from './mirror-scenarios.js';
import { type Operation, operations, PRELUDE } from './operations.js';

const FULL = process.env.CI_FULL === '1';
const SEED = seedOf('OVERNS_MIRROR_SEED');
const SEQUENCES = Number(process.env.OVERNS_MIRROR_RUNS ?? (FULL ? 60 : 2));
const LENGTH = 40;
/** Operations between two comparisons. */
const CHUNK = 8;
/** It is right within a second, on a machine that does nothing else. */
const LATE_MS = 30_000;

const FIELDS = {
  ...({ link: 'links', address: 'addresses', route: 'routes', neighbor: 'neighbors', fdb: 'fdb' } as const),
  ...({ rule: 'rules', nexthop: 'nexthops' } as const),
};
type Kind = keyof typeof FIELDS;
const KINDS = Object.keys(FIELDS) as Kind[];

/** What a monitor's consumer has. */
class Mirror {
  readonly tables = Object.fromEntries(KINDS.map((kind) => [kind, new Map()])) as Record<Kind, Map<string, Json>>;
  readonly #events: Subscription<RtnlSyncEvent>;
  readonly reading: Promise<void>;
  #ready: () => void = () => undefined;
  readonly ready = new Promise<void>((resolve) => {
    this.#ready = resolve;
  });
  snapshots = 0;

  constructor(rtnl: Rtnl) {
    this.#events = rtnl.monitor({ resync: true, maxQueue: 65536 });
    this.reading = this.#read();
    void this.reading.catch(() => undefined);
  }

  async #read(): Promise<void> {
    for await (const event of this.#events) {
      if (event.kind === 'snapshot') {
        this.snapshots++;
        for (const kind of KINDS) {
          const rows = event[FIELDS[kind]] ?? [];
          this.tables[kind] = new Map(rows.map((row) => [identityOf(kind, row), row as unknown as Json]));
          if (this.tables[kind].size !== rows.length) throw new Error(`${kind}: two rows have one identity`);
        }
        this.#ready();
      } else if (event.kind !== 'overrun' && event.kind !== 'miss' && event.kind !== 'netns') {
        const table = this.tables[event.kind];
        const identity = identityOf(event.kind, event);
        // What the words say is what the mirror has.
        if ((event.action === 'add') === table.has(identity))
          throw new Error(`${event.action} of ${event.kind} ${identity}`);
        if (event.action === 'delete') table.delete(identity);
        else table.set(identity, event as unknown as Json);
      }
    }
  }

  async close(): Promise<void> {
    await this.#events.return?.();
    await this.reading;
  }
}

/** What belongs to an event, not to its row; and clocks and counters. */
const SKIPPED = new Set(
  `action atNs replaced preferredLifetime validLifetime expires helloTimer tcnTimer topologyChangeTimer gcTimer
   messageAgeTimer forwardDelayTimer holdTimer fdbLearned unbalancedTime`.split(/\s+/),
);

function plain(value: unknown): unknown {
  if (typeof value === 'bigint') return String(value);
  if (value instanceof Uint8Array) return Buffer.from(value).toString('hex');
  if (Array.isArray(value)) return value.map(plain);
  if (value === null || typeof value !== 'object') return value;
  const fields = Object.entries(value).filter(([name, each]) => !SKIPPED.has(name) && each !== undefined);
  return Object.fromEntries(
    fields.map(([name, each]) => [name, plain(each)] as const).sort(([a], [b]) => (a < b ? -1 : 1)),
  );
}

/** A row of a listing, or of an event, in one form. */
function row(kind: Kind, { kind: first, linkKind, action, ruleAction, ...rest }: Json): string {
  if (kind === 'rule') return JSON.stringify(plain({ ...rest, does: ruleAction ?? action }));
  const own = kind === 'link' ? (first === 'link' ? linkKind : first) : undefined;
  return JSON.stringify(plain(own === undefined ? rest : { ...rest, kind: own }));
}

/** The fields that differ. */
function unlike(ours: string, theirs: string): string {
  const [left, right] = [JSON.parse(ours) as Json, JSON.parse(theirs) as Json];
  return [...new Set([...Object.keys(left), ...Object.keys(right)])]
    .map((name) => [name, JSON.stringify(left[name]), JSON.stringify(right[name])])
    .filter(([, one, other]) => one !== other)
    .map(([name, one, other]) => `${name} is ${one}, listed ${other}`)
    .join('; ');
}

function differences(mirror: Mirror, listed: Rows): string[] {
  const found: string[] = [];
  for (const kind of KINDS) {
    const rows = new Map(
      (listed[FIELDS[kind]] as readonly object[]).map((each) => [identityOf(kind, each), each as Json]),
    );
    for (const [identity, each] of rows) {
      const ours = mirror.tables[kind].get(identity);
      if (ours === undefined) found.push(`lacks ${kind} ${row(kind, each)}`);
      else if (row(kind, ours) !== row(kind, each))
        found.push(`${kind} ${identity}: ${unlike(row(kind, ours), row(kind, each))}`);
    }
    for (const [identity, each] of mirror.tables[kind])
      if (!rows.has(identity)) found.push(`still has ${kind} ${row(kind, each)}`);
  }
  return found;
}

/** Waits until all three are equal; what the mirror was late with. */
async function equal(mirror: Mirror, rtnl: Rtnl, netns: Netns, history: string): Promise<string> {
  const began = Date.now();
  const behind = new Map<string, number>();
  for (;;) {
    const [listed, seen] = await Promise.all([listRows(rtnl), byIproute2(netns)]);
    const wrong = differences(mirror, listed);
    const late = Date.now() - began > LATE_MS;
    for (const each of wrong) behind.set(each, Date.now() - began);
    if (late) expect(wrong, `the mirror, after\n${history}`).toEqual([]);
    if (wrong.length === 0) {
      const own = stateOf(listed);
      if (late) expect(own, `Rtnl's listing | iproute2's, after\n${history}`).toEqual(seen);
      if (JSON.stringify(own) === JSON.stringify(seen))
        return [...behind]
          .filter(([, ms]) => ms > 250)
          .map(([each, ms]) => `  ${ms} ms: ${each}`)
          .join('\n');
    }
    await Promise.race([sleep(20), mirror.reading.then(() => Promise.reject(new Error('ended')))]);
  }
}

/** Runs steps under a monitor; each one's delay. */
async function play(netns: Netns, before: () => Promise<void>, steps: readonly Step[]): Promise<void> {
  await before();
  await using rtnl = await Rtnl.open({ netns: netns.name });
  const mirror = new Mirror(rtnl);
  const history: string[] = [];
  try {
    await mirror.ready;
    const slow: string[] = [];
    for (const { words, run } of [{ words: '(nothing)', run: async () => undefined }, ...steps]) {
      history.push(words);
      await run();
      const behind = await equal(mirror, rtnl, netns, history.join('\n'));
      if (behind) slow.push(`${words}\n${behind}`);
    }
    if (process.env.OVERNS_MIRROR_SLOW) console.log(slow.join('\n'));
    // By events, and not by beginning anew.
    expect(mirror.snapshots).toBe(1);
  } finally {
    await mirror.close();
  }
}

interface Step {
  readonly words: string;
  readonly run: () => Promise<unknown>;
}

/** Lines of `ip` and `bridge`, which may fail. */
function stepOf(netns: Netns, chunk: readonly Operation[]): Step {
  return {
    words: chunk.map(({ tool, line }) => `${tool} ${line}`).join('\n'),
    run: async () => {
      for (const tool of ['ip', 'bridge'] as const) {
        const lines = chunk.filter((each) => each.tool === tool).map(({ line }) => line);
        await exec(tool, ['-n', netns.name, '-force', '-batch', '-'], { input: `${lines.join('\n')}\n`, check: false });
      }
    },
  };
}

/** Without what comes by itself and by chance; what a scenario is about it switches on again. */
async function makeNetns(): Promise<Netns> {
  const netns = await createNetns();
  await netns.exec('sh', [
    '-c',
    `cd /proc/sys/net/ipv6/conf; for each in all default; do
       echo 1 > $each/addr_gen_mode; echo 0 > $each/accept_dad; echo 0 > $each/router_solicitations; echo 0 > $each/accept_ra
     done`,
  ]);
  return netns;
}

describeWith(['root', 'ip'], 'a mirror', () => {
  test.each(SCENARIOS)(
    '$name',
    async ({ before, steps }) => {
      const [netns, other] = await Promise.all([makeNetns(), makeNetns()]);
      const script = async (text: string): Promise<void> => {
        await netns.exec('sh', ['-ec', text], { env: { ...process.env, OTHER: other.name } });
      };
      await play(
        netns,
        () => script(before ?? 'true'),
        steps.map((words) => ({ words, run: () => script(words) })),
      );
    },
    180_000,
  );

  test(
    `${SEQUENCES} random sequences`,
    async () => {
      console.log(`seed ${SEED} (OVERNS_MIRROR_SEED=${SEED} for the same once more)`);
      for (const sequence of fc.sample(operations(LENGTH), { numRuns: SEQUENCES, seed: SEED })) {
        await using netns = await makeNetns();
        const all = [...PRELUDE, ...sequence];
        const chunks = Array.from({ length: Math.ceil(all.length / CHUNK) }, (_, at) =>
          all.slice(at * CHUNK, (at + 1) * CHUNK),
        );
        await play(
          netns,
          async () => undefined,
          chunks.map((chunk) => stepOf(netns, chunk)),
        );
      }
    },
    SEQUENCES * 60_000,
  );
});
