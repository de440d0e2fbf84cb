import { Overlay } from '../../index.js';
import { hostFlag, overlayArgument } from '../kinds.js';
import { defineVerb } from '../verb.js';
import { missLine } from '../words.js';

export const verb = defineVerb({
  name: 'misses',
  summary: 'Show what the kernel asks for on an overlay, as it asks, and answer nothing',
  args: [overlayArgument],
  flags: { host: hostFlag },
  examples: [['overns misses overns', 'until Ctrl-C; beside a running agent too']],
  streams: true,
  async run({ args: [name = ''], flags: { host } }, { signal, out, log, json }) {
    await using overlay = await Overlay.open(name, { signal, ...(host === undefined ? {} : { host }) });
    const misses = overlay.misses({ signal });
    let dropped = 0;
    for await (const batch of misses.batches()) {
      if (json) await out.json(...batch);
      else await out.lines(batch.map(missLine));
      if (misses.dropped > dropped)
        log.warn(`${misses.dropped - dropped} misses came faster than they could be printed`);
      dropped = misses.dropped;
    }
    return undefined;
  },
});
