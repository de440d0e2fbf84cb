/**
 * A program that has everything of the library open, and leaves in the way it is told. Its argument is JSON with the
 * part to play; it says JSON lines. As a worker thread it opens everything and waits for its end.
 */
import { readdirSync, readFileSync, readlinkSync, writeSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';

const say = (value) => writeSync(1, `${JSON.stringify(value)}\n`);
const library = () => import('../../dist/index.js');

/** Numbers from 0 to 1, the same for the same seed (mulberry32). */
function randomOf(seed) {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}

/** What this process holds: descriptors by kind, threads by name, and the namespaces among the descriptors. */
function holdings() {
  const held = {};
  const count = (kind) => {
    held[kind] = (held[kind] ?? 0) + 1;
  };
  for (const fd of readdirSync('/proc/self/fd')) {
    try {
      const target = readlinkSync(`/proc/self/fd/${fd}`);
      count(`fd ${target.replace(/:\[\d+\]$/, '')}`);
    } catch {
      // the descriptor of this very list
    }
  }
  for (const task of readdirSync('/proc/self/task')) {
    try {
      count(`thread ${readFileSync(`/proc/self/task/${task}/comm`, 'utf8').trim()}`);
    } catch {
      // it ended meanwhile
    }
  }
  // Files are not the library's: Node leaves the modules open that a worker was reading when it was ended.
  for (const kind of Object.keys(held)) if (/^fd \/(?!run\/netns)/.test(kind)) delete held[kind];
  return held;
}

/** What is held now and was not before; empty as soon as nothing is. Node's own threads may take a moment. */
async function settled(before, waitMs = 30_000) {
  const until = Date.now() + waitMs;
  for (;;) {
    const now = holdings();
    const more = Object.entries(now).filter(([kind, count]) => count > (before[kind] ?? 0));
    if (more.length === 0) return {};
    if (Date.now() > until) return Object.fromEntries(more.map(([kind, count]) => [kind, count - (before[kind] ?? 0)]));
    await sleep(20);
  }
}

/** A consumer's own store, which answers late or never. */
const slow = {
  asked: 0,
  async lookup(query, { signal }) {
    slow.asked++;
    await sleep(5 + (slow.asked % 7) * 40, undefined, { signal, ref: false });
    // Some are never found: what the kernel knows it does not ask again.
    const last = Number(query.ip?.split('.').pop() ?? 1);
    return last % 2 === 1 ? null : { mac: `02:42:0a:00:00:${last}`, vtep: '10.0.0.99' };
  },
};

/** Reads on, and forgets. */
async function drain(subscription) {
  try {
    for await (const _ of subscription);
  } catch {
    // closed
  }
}

/** Requests that are under way at any moment, until closed. */
async function busy(rtnl) {
  for (let round = 0; ; round++) {
    const item = (at) => ({ link: 'vxlan1', ip: `192.168.0.${200 + at}`, mac: '02:42:00:00:00:01', state: 'stale' });
    const ips = Array.from({ length: 50 }, (_, at) => item(at));
    try {
      await Promise.all([
        rtnl.neighbors.batch(ips.map((each) => ({ op: round % 2 === 0 ? 'replace' : 'delete', item: each }))),
        rtnl.links.list(),
        rtnl.fdb.list({ link: 'vxlan1' }),
        rtnl.addresses.list(),
      ]);
    } catch (error) {
      if (error.code !== 'OVERNS_CLOSED') throw error;
      return;
    }
  }
}

/** One of everything, all of it in use. `names`: an overlay for a memory: store and one for a slow store. */
async function openAll(names, progress = () => {}) {
  const { Overlay, Resolver, Rtnl, openStore } = await library();
  progress('loaded');
  const [first, second] = await Promise.all(names.map((name) => Overlay.open(name)));
  const rtnl = await Rtnl.open({ netns: first.name });
  const work = busy(rtnl);
  work.catch(() => {}); // whoever closes hears of it
  const subscriptions = [rtnl.monitor(), first.misses(), second.misses()];
  for (const each of subscriptions) void drain(each);
  progress('watching');
  const store = await openStore('memory:');
  await store.publish(
    { ip: '192.168.0.10', ips: ['192.168.0.10'], mac: '02:42:0a:00:00:10', vtep: '10.0.0.98' },
    { overlay: first.name, vni: first.vni },
  );
  const resolver = await Resolver.start({
    overlays: [
      { overlay: first, store },
      { overlay: second, store: slow },
    ],
  });
  subscriptions.push(resolver.events());
  void drain(subscriptions.at(-1));
  progress('open');
  const close = async () => {
    await Promise.all(subscriptions.map((each) => each.return()));
    await resolver.close();
    await rtnl.close();
    await work;
    await Promise.all([first.close(), second.close(), store.close()]);
  };
  return { overlays: [first, second], store, rtnl, resolver, subscriptions, close };
}

/** Until the slow store has lookups pending: what leaves then leaves in the middle of them. */
async function lookupsPending() {
  while (slow.asked === 0) await sleep(1);
}

/** Runs a worker that has everything open, and ends it so long after it got there. */
async function endedWorker(names, stage, afterMs) {
  const worker = new Worker(new URL(import.meta.url), { workerData: { names } });
  let failure;
  let reached = 'nothing';
  const exited = new Promise((resolve) => worker.once('exit', resolve));
  await new Promise((resolve) => {
    const look = () => {
      if (stage === reached || failure) resolve();
    };
    worker.on('online', look);
    worker.on('message', (message) => {
      reached = message;
      look();
    });
    worker.on('error', (error) => {
      failure = error;
      look();
    });
  });
  await sleep(afterMs);
  await worker.terminate();
  await exited;
  if (failure) throw failure;
  return reached;
}

const parts = {
  /** The process ends by itself, or stays, with a resolver that is referenced or not. */
  async plain({ names, ref }) {
    const all = await openAll(names);
    await lookupsPending();
    if (ref) {
      say({ ready: true });
      process.stdin.once('data', () => {
        process.stdin.destroy();
        all.close();
      });
      return;
    }
    // A subscription that is read keeps the process, as any stream does.
    await Promise.all(all.subscriptions.map((each) => each.return()));
    await all.rtnl.close();
    all.resolver.unref();
    process.on('exit', () => say({ left: true, asked: slow.asked }));
  },

  /** process.exit() so long after the start, whatever is under way. */
  async exit({ names, afterMs, when }) {
    const reached = (stage) => {
      if (stage === when) setTimeout(() => process.exit(0), afterMs);
    };
    reached('start');
    const all = await openAll(names, reached);
    await lookupsPending();
    reached('closing');
    if (when === 'closing') await all.close();
    await sleep(10_000);
  },

  async uncaught({ names, afterMs }) {
    await openAll(names);
    await lookupsPending();
    setTimeout(() => {
      throw new Error('nobody caught this');
    }, afterMs);
  },

  /** Waits with everything open. */
  async wait({ names, handler }) {
    if (handler) process.on('SIGTERM', () => process.exit(7));
    await openAll(names);
    await lookupsPending();
    say({ ready: true });
  },

  /** Workers that are ended at random, several at once, while this thread serves an overlay of its own too. */
  async workers({ lanes, own, rounds, seed, stages, maxMs }) {
    const random = randomOf(seed);
    // What Node keeps of workers once it has had some, and what the library keeps once it was used.
    await Promise.all(lanes.map((names) => endedWorker(names, 'open', 50)));
    await (await openAll(own)).close();
    await sleep(100);
    const before = holdings();
    const all = await openAll(own);
    const reached = {};
    await Promise.all(
      lanes.map(async (names) => {
        for (let round = 0; round < rounds; round++) {
          const from = stages[Math.floor(random() * stages.length)];
          const stage = await endedWorker(names, from, random() * (from === 'nothing' ? maxMs : 20));
          reached[stage] = (reached[stage] ?? 0) + 1;
        }
      }),
    );
    const { misses } = all.resolver.stats();
    await new Promise((resolve, reject) => {
      const end = setTimeout(reject, 30_000, new Error('the main thread serves no more'));
      const look = setInterval(() => {
        if (all.resolver.stats().misses === misses) return;
        clearInterval(look);
        clearTimeout(end);
        resolve();
      }, 10);
    });
    await all.close();
    say({ reached, left: await settled(before) });
  },

  /** Opens and closes over and over. */
  async cycles({ names, cycles, resolvers }) {
    const { Overlay, Resolver, Rtnl, openStore } = await library();
    const warm = await openAll(names);
    await warm.close();
    await sleep(100);
    const before = holdings();
    const took = {};
    const timed = async (what, run) => {
      const from = Date.now();
      await run();
      took[what] = Date.now() - from;
    };
    await timed('rtnl', async () => {
      for (let cycle = 0; cycle < cycles; cycle++) {
        const rtnl = await Rtnl.open({ netns: names[0] });
        // Every other is closed with a request under way.
        const list = rtnl.links.list();
        if (cycle % 2 === 0) await list;
        await rtnl.close();
        await list;
      }
    });
    const afterRtnl = await settled(before);
    await timed('monitor', async () => {
      const rtnl = await Rtnl.open({ netns: names[0] });
      for (let cycle = 0; cycle < cycles; cycle++) {
        const monitor = rtnl.monitor();
        if (cycle % 2 === 0) void drain(monitor);
        if (cycle % 10 === 0) await sleep(0);
        await monitor.return();
      }
      await rtnl.close();
    });
    const afterMonitor = await settled(before);
    await timed('resolver', async () => {
      const overlay = await Overlay.open(names[0]);
      const store = await openStore('memory:');
      for (let cycle = 0; cycle < resolvers; cycle++) {
        const resolver = await Resolver.start({ overlays: [overlay], store: cycle % 2 === 0 ? store : slow });
        if (cycle % 3 === 0) await sleep(5);
        await resolver.close();
        await resolver.closed;
      }
      await overlay.close();
      await store.close();
    });
    say({ afterRtnl, afterMonitor, left: await settled(before), took });
  },

  /** A listener that throws: nobody's fault but its own. */
  async throwing({ names, caught }) {
    const all = await openAll(names);
    let thrown = 0;
    if (caught) {
      process.on('uncaughtException', (error) => {
        if (error.message !== 'thrown by a listener') throw error;
        thrown++;
      });
    }
    let told = 0;
    for (const kind of ['resolved', 'unresolved']) {
      all.resolver.on(kind, () => {
        throw new Error('thrown by a listener');
      });
      all.resolver.on(kind, () => told++);
    }
    while (told < 10 || thrown < 10) await sleep(5);
    await all.close();
    say({ told, thrown });
  },
};

if (isMainThread) {
  process.on('unhandledRejection', (error) => {
    throw error;
  });
  const { part, ...given } = JSON.parse(process.argv[2] ?? '{}');
  await parts[part](given);
} else {
  await openAll(workerData.names, (stage) => parentPort.postMessage(stage));
}
