import { Rtnl } from '../../index.js';
import { parseNetns } from '../../netns.js';
import { oneOf, option } from '../flags.js';
import { defineVerb } from '../verb.js';
import { eventLines } from '../words.js';

const GROUPS = ['link', 'address', 'route', 'neigh'] as const;

export const verb = defineVerb({
  name: 'monitor',
  summary: 'Show changes of links, addresses, routes and neighbours as the kernel reports them',
  args: [
    {
      name: GROUPS.join('|'),
      help: 'what to show; default all',
      optional: true,
      many: true,
      check: (text) => void oneOf(...GROUPS)(text, 'monitor'),
    },
  ],
  flags: { netns: option('NETNS', 'where: a name, a path or pid:N; default this namespace', parseNetns) },
  examples: [
    ['overns monitor neigh --netns overns', 'neighbours, FDB entries and misses of the overlay "overns"'],
    ['overns monitor link', 'links of this namespace that come, change and go'],
  ],
  streams: true,
  async run({ args, flags: { netns } }, { signal, out, json }) {
    const groups = args.length === 0 ? [...GROUPS] : args.map((text) => oneOf(...GROUPS)(text, 'monitor'));
    await using rtnl = await Rtnl.open({ signal, ...(netns === undefined ? {} : { netns }) });
    const events = rtnl.monitor({ groups, signal });
    for await (const batch of events.batches()) {
      if (json) await out.json(...batch);
      else await out.lines(batch.flatMap(eventLines));
    }
    return undefined;
  },
});
