import { Overlay, openStore, Resolver, type ResolverEvent } from '../../index.js';
import { needed, toggle } from '../flags.js';
import { Follower } from '../follow.js';
import { hostFlag, overlayArgument, STORE_HELP, storeUrl } from '../kinds.js';
import type { Log } from '../output.js';
import { usageError } from '../usage.js';
import { defineVerb } from '../verb.js';
import { answerLines, missLine } from '../words.js';

/** Events held for a log that cannot be written as fast as they come. */
const MAX_QUEUE = 16_384;

export const verb = defineVerb({
  name: 'agent',
  summary: 'Answer the misses of overlays from a store, until it is told to stop',
  description:
    'One agent serves an overlay. It says `agent ready` on stderr once it serves; SIGTERM and SIGINT end it. The entries that it made stay. An overlay that is removed and made again is served again; with --all a new one is, too.',
  args: [{ ...overlayArgument, help: 'the overlays to serve', optional: true, many: true }],
  flags: {
    store: needed('URL', `where endpoints are looked up: ${STORE_HELP}`, storeUrl),
    all: toggle('serve all overlays of this machine, now and later'),
    takeover: toggle('take the overlays over from another agent that serves them'),
    'no-realtime': toggle('leave the resolver thread at ordinary priority (default: SCHED_FIFO where permitted)'),
    host: hostFlag,
  },
  examples: [
    ['overns agent overns --store consul://consul/demo', 'the overlay "overns" from Consul, records under demo/'],
    ["overns agent --all --store 'consul://consul/{vni}'", 'all overlays, the records of each under its VNI'],
  ],
  streams: true,
  check({ args, flags: { all } }, given) {
    if (args.length === 0 && !all) throw usageError('agent: NAME is missing', 'name the overlays to serve, or --all');
    if (args.length > 0 && given.has('all'))
      throw usageError('agent: NAME and --all are both given', 'use one of them');
    const twice = args.find((name, index) => args.indexOf(name) !== index);
    if (twice !== undefined) throw usageError(`agent: ${twice} is named twice`, 'name each overlay once');
  },
  async run({ args, flags }, { signal, out, log, json }) {
    const { host, all } = flags;
    const listed = args.length > 0 ? args : (await Overlay.list({ signal })).map(({ overlay }) => overlay);
    const wanted = new Set(args);
    const overlays: Overlay[] = [];
    const owned: AsyncDisposable[] = [];
    try {
      const store = await openStore(flags.store, { signal });
      owned.push(store);
      for (const name of listed) {
        const overlay = await Overlay.open(name, { signal, ...(host === undefined ? {} : { host }) });
        owned.push(overlay);
        overlays.push(overlay);
      }
      const resolver = await Resolver.start({
        overlays,
        store,
        takeover: flags.takeover,
        realtime: !flags['no-realtime'],
        signal,
      });
      owned.push(resolver);
      const events = resolver.events({ signal, maxQueue: MAX_QUEUE });
      const follower = await Follower.start(overlays, {
        resolver,
        wanted: (name) => (args.length > 0 ? wanted.has(name) : all),
        host,
        log,
      });
      owned.push(follower);
      log.say('agent ready');
      const source = /^etcd/i.test(flags.store) ? 'etcd' : 'Consul';
      for await (const batch of events.batches()) {
        if (json) await out.json(...batch);
        for (const event of batch) tell(event, log, args.length === 1 ? '' : `${event.overlay}: `, source);
      }
      // Ended without being told to: then the resolver says why.
      await resolver.closed;
      if (!signal.aborted) log.info('nothing is left to serve');
    } finally {
      // Last opened, first closed: the resolver before what it uses.
      for (const each of owned.reverse()) await each[Symbol.asyncDispose]();
    }
    return undefined;
  },
});

/** One event as the seed's daemon logs it, and what the seed does not know in the same manner. */
function tell(event: ResolverEvent, log: Log, prefix: string, source: string): void {
  const info = (text: string): void => log.info(prefix + text);
  const warn = (text: string): void => log.warn(prefix + text);
  switch (event.kind) {
    case 'resolved':
      info(missLine(event.miss));
      for (const line of answerLines(event, source)) info(line);
      log.debug(`${prefix}answered from the ${event.by} in ${event.tookUs} µs`);
      break;
    case 'unresolved': {
      info(missLine(event.miss));
      const key = event.miss.kind === 'l3' ? `IP ${event.miss.ip}` : `MAC ${event.miss.mac}`;
      if (event.cause === 'absent') info(`${source} has no record of ${key}`);
      else
        warn(
          `${source} gave no answer about ${key}: ${event.cause === 'timeout' ? 'it took too long' : (event.error?.message ?? event.cause)}`,
        );
      break;
    }
    case 'rejected':
      info(missLine(event.miss));
      warn(`the answer cannot be used: ${event.reason}`);
      break;
    case 'overrun':
      warn(`the kernel dropped misses (${event.dropped}): they come again when the senders retry`);
      break;
    case 'overflow':
      warn(`${event.dropped} events came faster than they could be logged; they were answered all the same`);
      break;
    case 'store-down':
      warn(
        `${source} cannot be reached${event.error === undefined ? '' : `: ${event.error.message}`}; serving what is known`,
      );
      break;
    case 'store-up':
      info(`${source} is reachable again`);
      break;
    case 'overlay-lost':
      warn(`overlay ${event.overlay} is lost: removed, or taken over by another agent`);
      break;
    case 'overlay-back':
      info(`overlay ${event.overlay} is back`);
      break;
  }
}
