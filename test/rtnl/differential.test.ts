/**
 * Random operations, by Rtnl in one namespace and by iproute2 in another: each succeeds in both or fails in both, the
 * two namespaces stay equal in iproute2's eyes, and Rtnl lists the one as iproute2 does.
 */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Rtnl } from '../../lib/index.js';
import { byIproute2, type Json, listRows, type State, stateOf } from '../support/listings.js';
import { createNetns, exec, type Netns } from '../support/netns.js';
import { describeWith } from '../support/requirements.js';
import { seedOf } from '../support/seed.js';
import { GROUPS, LINKS, type Operation, operations, PRELUDE } from './operations.js';

const FULL = process.env.CI_FULL === '1';
const SEED = seedOf('OVERNS_DIFFERENTIAL_SEED');
const PATH = process.env.OVERNS_DIFFERENTIAL_PATH;
const SEQUENCES = Number(process.env.OVERNS_DIFFERENTIAL_RUNS ?? (FULL ? 200 : 6));
const LENGTH = 50;
/** Operations between two comparisons. */
const CHUNK = 10;
/** The kernel finishes what a change of carrier brings about within a second (linkwatch), on a machine that does nothing else. */
const SETTLE_MS = 30_000;

async function makeNetns(): Promise<Netns> {
  const netns = await createNetns();
  // What comes by itself and by chance has no part in this: link-local addresses, their detection, solicitations, and
  // the collection of what has expired.
  await netns.exec('sh', [
    '-c',
    `cd /proc/sys/net/ipv6/conf; for each in all default; do
       echo 1 > $each/addr_gen_mode; echo 0 > $each/accept_dad; echo 0 > $each/dad_transmits
       echo 0 > $each/router_solicitations; echo 0 > $each/accept_ra
     done
     echo 86400 > ../route/gc_interval`,
  ]);
  return netns;
}

/** What the kernel maps by itself when it first sends to a group, which is when its timers say. */
const isGroup = ({ dst }: Json): boolean => /^(224\.|ff)/.test(String(dst));

/** MACs that a link listens to for what the kernel joins and leaves, whose work it does when it comes to it. */
const isJoined = ({ mac }: Json): boolean =>
  /^(33:33:|01:00:5e:)/.test(String(mac)) && !(GROUPS as readonly unknown[]).includes(mac);

/** What a bridge has learned of the links here, whose reports to groups come and are repeated by chance. */
function isLearned({ state, flags, master, mac }: Json, links: readonly Json[]): boolean {
  const plain = state === '' && master !== undefined && Array.isArray(flags) && flags.length === 0;
  return plain && links.some(({ address }) => address === mac);
}

/** Without what comes by itself and by chance. */
function settled(state: State): State {
  return {
    ...state,
    neighbor: state.neighbor.filter((each) => !isGroup(each)),
    fdb: state.fdb.filter((each) => !isJoined(each) && !isLearned(each, state.link)),
  };
}

/**
 * What the kernel does later by itself, and what later operations depend on. What a change of carrier brings about, as
 * neighbours and addresses of a link going: asking for the link by name makes the kernel do it now (linkwatch_sync_dev).
 * The routes of a new IPv6 address, which is no source or gateway before (addrconf_dad_work): the last of it is done
 * under the lock that asking for a link takes too.
 */
async function settle(rtnl: Rtnl): Promise<void> {
  const ask = (): Promise<unknown> => Promise.all(LINKS.map((name) => rtnl.links.list({ name })));
  await ask();
  for (const until = Date.now() + SETTLE_MS; ; ) {
    const addresses = await rtnl.addresses.list({ family: 'inet6' });
    const routes = await rtnl.routes.list({ family: 'inet6', table: 255 });
    const usable = new Set(routes.map(({ dst, link }) => `${dst} ${link}`));
    const pending = addresses.filter(
      ({ address, link, flags }) =>
        flags?.includes('tentative') || !usable.has(`${address.replace(/\/.*/, '/128')} ${link}`),
    );
    if (pending.length === 0) break;
    if (Date.now() > until) throw new Error(`never finished: ${JSON.stringify(pending)}`);
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  await ask();
}

/** Each operation's outcome: undefined = done, else what was said. */
async function applyRtnl(rtnl: Rtnl, netns: Netns, operations: readonly Operation[]): Promise<(string | undefined)[]> {
  const outcomes: (string | undefined)[] = [];
  for (const each of operations) {
    const work = each.rtnl ? each.rtnl(rtnl) : exec(each.tool, ['-n', netns.name, ...each.line.split(' ')]);
    outcomes.push(
      await work.then(
        () => undefined,
        (error: Error) => error.message,
      ),
    );
    if (each.later) await settle(rtnl);
  }
  return outcomes;
}

/** A line that fails, behind each of the others: it tells how far the batch has come. */
const MARK = { ip: 'link del no-such-link', bridge: 'fdb del 02:00:00:00:00:00 dev no-such-link' } as const;

async function applyIproute2(
  rtnl: Rtnl,
  netns: Netns,
  operations: readonly Operation[],
): Promise<(string | undefined)[]> {
  const outcomes: (string | undefined)[] = [];
  while (outcomes.length < operations.length) {
    const from = outcomes.length;
    const { tool } = operations[from] as Operation;
    let to = from + 1;
    while (to < operations.length && !operations[to - 1]?.later && operations[to]?.tool === tool) to++;
    const lines = operations.slice(from, to).flatMap((each) => [each.line, MARK[tool]]);
    const { stderr } = await exec(tool, ['-n', netns.name, '-force', '-batch', '-'], {
      input: `${lines.join('\n')}\n`,
      check: false,
    });
    let failed: string | undefined;
    let said = '';
    for (const text of stderr.split('\n')) {
      const number = /^Command failed -:(\d+)$/.exec(text)?.[1];
      if (number === undefined) said += `${text} `;
      else {
        if (Number(number) % 2 === 1) failed = said;
        else outcomes.push(failed);
        if (Number(number) % 2 === 0) failed = undefined;
        said = '';
      }
    }
    // It gives a batch up at a word that it refuses itself, such as the name of a master that is not there.
    if (outcomes.length < to) outcomes.push(said);
    await settle(rtnl);
  }
  return outcomes;
}

/** Equal now or soon. */
async function equal(a: Netns, b: Netns, rtnl: Rtnl, history: string): Promise<void> {
  const until = Date.now() + SETTLE_MS;
  for (;;) {
    const [left, right, own] = await Promise.all([
      byIproute2(a).then(settled),
      byIproute2(b).then(settled),
      listRows(rtnl).then(stateOf).then(settled),
    ]);
    try {
      expect(left, `by Rtnl | by iproute2, after\n${history}`).toEqual(right);
      expect(own, `Rtnl's listing | iproute2's, after\n${history}`).toEqual(left);
      return;
    } catch (error) {
      if (Date.now() > until) throw error;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
}

async function play(operations: readonly Operation[]): Promise<void> {
  const [a, b] = await Promise.all([makeNetns(), makeNetns()]);
  try {
    await using rtnl = await Rtnl.open({ netns: a.name });
    await using other = await Rtnl.open({ netns: b.name });
    const history: string[] = [];
    const all = [...PRELUDE, ...operations];
    for (let from = 0; from < all.length; from += CHUNK) {
      const chunk = all.slice(from, from + CHUNK);
      const [ours, theirs] = await Promise.all([applyRtnl(rtnl, a, chunk), applyIproute2(other, b, chunk)]);
      chunk.forEach((each, at) => {
        count(each, theirs[at] === undefined);
        history.push(`${each.tool} ${each.line}${theirs[at] === undefined ? '' : `   # ${theirs[at]}`}`);
        if ((ours[at] === undefined) !== (theirs[at] === undefined)) {
          const outcome = (said: string | undefined): string => (said === undefined ? 'done' : said);
          throw new Error(`Rtnl: ${outcome(ours[at])}\niproute2: ${outcome(theirs[at])}\n${history.join('\n')}`);
        }
      });
      await equal(a, b, rtnl, history.join('\n'));
    }
  } finally {
    await Promise.all([a.remove(), b.remove()]);
  }
}

/** Of each kind of operation, how many there were and how many of them succeeded. */
const tally = new Map<string, [all: number, done: number]>();
function count({ line }: Operation, done: boolean): void {
  const words = line.replace(/^-[46] /, '').split(' ');
  const kind = `${words[0]} ${words[1]}`;
  const [all, successes] = tally.get(kind) ?? [0, 0];
  tally.set(kind, [all + 1, successes + Number(done)]);
}

describeWith(['root', 'ip'], 'Rtnl and iproute2', () => {
  test(
    `${SEQUENCES * LENGTH} random operations end equal`,
    async () => {
      console.log(`differential: seed ${SEED} (OVERNS_DIFFERENTIAL_SEED=${SEED} for the same once more)`);
      await fc.assert(fc.asyncProperty(operations(LENGTH), play), {
        seed: SEED,
        numRuns: SEQUENCES,
        endOnFailure: process.env.OVERNS_DIFFERENTIAL_SHRINK !== '1',
        ...(PATH ? { path: PATH } : {}),
      });
      console.log(
        [...tally]
          .sort()
          .map(([kind, [all, done]]) => `${kind}: ${done} of ${all}`)
          .join(', '),
      );
    },
    SEQUENCES * 60_000,
  );
});
