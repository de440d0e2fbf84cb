import { channel } from 'node:diagnostics_channel';
import { Agent, openStore } from '../../index.js';
import { parseStoreUrl } from '../../store/index.js';
import { AgentLog } from '../agent-log.js';
import { needed, oneOf, option, optionOr, seconds, toggle } from '../flags.js';
import { hostFlag, overlayArgument, STORE_EXAMPLE, STORE_EXAMPLE_BY_VNI, STORE_HELP, storeUrl } from '../kinds.js';
import { usageError } from '../usage.js';
import { defineVerb } from '../verb.js';

/** Events held for a log that cannot be written as fast as they come. */
const MAX_QUEUE = 16_384;

export const verb = defineVerb({
  name: 'agent',
  summary: 'Answer the misses of overlays from a store, until it is told to stop',
  description:
    'One agent serves an overlay. It says `agent ready` on stderr once it serves; SIGTERM and SIGINT end it, SIGHUP only if it uses a terminal (with nohup, which redirects, it does not). The entries that it made stay. Devices of an overlay that are deleted, set down or taken out of br0 while it is served are put back. An overlay that is removed and made again is served again, and so is one that another agent has taken over, once that one has ended; with --all a new one is, too, and one that cannot be served is named once and tried again.',
  args: [{ ...overlayArgument, help: 'the overlays to serve', optional: true, many: true }],
  flags: {
    store: needed('URL', `where endpoints are looked up: ${STORE_HELP}`, storeUrl),
    all: toggle('serve all overlays of this machine, now and later'),
    takeover: toggle(
      'take the overlays over from other agents that serve them; those stay, to serve them again when this one ends',
    ),
    'no-publish': toggle(
      "do not keep this host's endpoints in the store (default: what is attached is published, what is detached withdrawn)",
    ),
    'lease-ttl': option(
      'SECONDS',
      "how long what is published outlives the agent and its host; default 15, at least 1 and what the store's own least is",
      leaseTtl,
    ),
    sync: optionOr(
      'all|used|lookup|auto',
      'what is followed in the store: the whole network, the addresses that this host uses, or nothing, so that an answer holds for its TTL; auto (the default): all until that is too much, then what is used',
      oneOf('all', 'used', 'lookup', 'auto'),
      'auto',
    ),
    program: optionOr(
      'ahead|miss',
      'when entries are written: once somebody asks (the default), or as soon as the store tells of an endpoint, in networks of up to 512 addresses that are followed as a whole',
      oneOf('ahead', 'miss'),
      'miss',
    ),
    'no-realtime': toggle('leave the resolver thread at ordinary priority (default: SCHED_FIFO where permitted)'),
    grace: option(
      'SECONDS',
      'how long nothing is withdrawn when the store lists less than half of what it did, as after a restart without its data; 0 = not at all (default 60)',
      (text, name) => (text === '0' ? 0 : seconds(text, name)),
    ),
    prime: toggle(
      'send requests of containers here on to those whom they ask, who learn the asker by it, so that their host misses nothing for the answer; on all hosts alike',
    ),
    redirect: option(
      'SECONDS',
      'how long what other hosts still send here for a container that has left is sent on to where it is now; 0 = not at all (default 60)',
      (text, name) => (text === '0' ? 0 : seconds(text, name)),
    ),
    host: hostFlag,
  },
  examples: [
    [`overns agent overns --store ${STORE_EXAMPLE}`, 'the overlay "overns", records under demo/'],
    [`overns agent --all --store '${STORE_EXAMPLE_BY_VNI}'`, 'all overlays, the records of each under its VNI'],
  ],
  streams: true,
  daemon: true,
  check({ args, flags: { all } }, given) {
    if (args.length === 0 && !all) throw usageError('agent: NAME is missing', 'name the overlays to serve, or --all');
    if (args.length > 0 && given.has('all'))
      throw usageError('agent: NAME and --all are both given', 'use one of them');
    const twice = args.find((name, index) => args.indexOf(name) !== index);
    if (twice !== undefined) throw usageError(`agent: ${twice} is named twice`, 'name each overlay once');
  },
  async run({ args, flags }, { signal, system, out, log, json }) {
    const { host } = flags;
    // The variable that stands for --all gives way to names.
    const all = args.length === 0;
    const owned: (AsyncDisposable | Disposable)[] = [];
    const warned = (message: unknown): void => log.warn((message as { readonly error: Error }).error.message);
    const warnings = ['overns:overlay:warning', 'overns:store:warning'].map((name) => channel(name));
    for (const each of warnings) each.subscribe(warned);
    try {
      const store = await openStore(flags.store, { signal });
      owned.push(store);
      const agent = await Agent.start({
        store,
        ...(all ? {} : { overlays: args }),
        takeover: flags.takeover,
        sync: flags.sync,
        program: flags.program,
        publish: !flags['no-publish'],
        leaseTtlMs: flags['lease-ttl'],
        realtime: !flags['no-realtime'],
        graceMs: flags.grace,
        prime: flags.prime,
        redirectMs: flags.redirect,
        host,
        signal,
        system,
      });
      owned.push(agent);
      const source = parseStoreUrl(flags.store).driver.title;
      const agentLog = new AgentLog(log, source, args.length !== 1);
      owned.push(agentLog);
      const events = agent.events({ signal, maxQueue: MAX_QUEUE });
      log.say('agent ready');
      for await (const batch of events.batches()) {
        if (json) await out.json(...batch);
        for (const event of batch) agentLog.tell(event);
      }
      // Ended without being told to: then the agent says why.
      await agent.closed;
    } finally {
      for (const each of warnings) each.unsubscribe(warned);
      // Last opened, first closed: the resolver before what it uses.
      for (const each of owned.reverse()) {
        if (Symbol.asyncDispose in each) await each[Symbol.asyncDispose]();
        else each[Symbol.dispose]();
      }
    }
    return undefined;
  },
});

function leaseTtl(text: string, name: string): number {
  const ms = seconds(text, name);
  if (ms < 1000) throw usageError(`${name}: ${text} is less than a second`, 'give it some seconds');
  return Math.round(ms);
}
