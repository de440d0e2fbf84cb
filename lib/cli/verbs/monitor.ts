import { Rtnl, type RtnlEvent, type System } from '../../index.js';
import type { NetnsRef } from '../../netns/references.js';
import { netnsLabel, parseNetns } from '../../netns/references.js';
import { list, oneOf, timeFlag } from '../flags.js';
import { defineVerb } from '../verb.js';
import { eventLines, LinkBook, timeWords } from '../words.js';

const DEFAULT_GROUPS = ['link', 'address', 'route', 'neigh', 'rule', 'nexthop'] as const;
const GROUPS = [...DEFAULT_GROUPS, 'netns'] as const;

export const verb = defineVerb({
  name: 'monitor',
  summary: 'Show changes of links, addresses, routes, neighbours, rules and nexthops as the kernel reports them',
  args: [
    {
      name: GROUPS.join('|'),
      help: 'what to show; default all but netns, which is named namespaces',
      optional: true,
      many: true,
      check: (text) => void oneOf(...GROUPS)(text, 'monitor'),
    },
  ],
  flags: {
    netns: list(
      'NETNS',
      'where: a name, a path or pid:N; several show in front of each line; default this namespace',
      parseNetns,
    ),
    time: timeFlag,
  },
  examples: [
    ['overns monitor neigh --netns overns', 'neighbours, FDB entries and misses of the overlay "overns"'],
    ['overns monitor route --netns blue --netns red', 'routes of two namespaces'],
    ['overns monitor netns', 'named namespaces that come and go'],
    ['overns monitor link', 'links of this namespace that come, change and go'],
  ],
  streams: true,
  async run({ args, flags: { netns, time } }, { signal, system, out, json }) {
    const groups = args.length === 0 ? [...DEFAULT_GROUPS] : args.map((text) => oneOf(...GROUPS)(text, 'monitor'));
    const links = new LinkBook();
    const [only] = netns;
    const several = netns.length > 1;
    const rtnl = several ? undefined : await Rtnl.open({ signal, system, netns: only });
    // Before the links are listed, so that none is missed.
    const events = rtnl?.monitor({ groups, signal }) ?? (await Rtnl.monitor({ groups, signal, system, netns }));
    if (rtnl) for (const link of await rtnl.links.list()) links.add(link);
    else for (const ref of netns) await learn(links, ref, system);
    await rtnl?.close();
    for await (const batch of events.batches()) {
      if (json) {
        await out.json(...batch);
        continue;
      }
      const lines: string[] = [];
      for (const event of batch as readonly (RtnlEvent & { readonly netns?: string })[]) {
        links.learn(event);
        const netns = several && event.netns !== undefined ? `[${event.netns}] ` : '';
        const where = (time ? timeWords(event) : '') + netns;
        for (const [at, line] of eventLines(event, links).entries()) lines.push(at === 0 ? where + line : line);
      }
      await out.lines(lines);
    }
    return undefined;
  },
});

/** Not held open, which would keep the namespace alive. */
async function learn(links: LinkBook, netns: NetnsRef, system: System): Promise<void> {
  await using rtnl = await Rtnl.open({ netns, system });
  for (const link of await rtnl.links.list()) links.add(link, netnsLabel(netns));
}
