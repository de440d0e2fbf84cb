import { channel } from 'node:diagnostics_channel';
import { Overlay } from '../../index.js';
import { timeFlag } from '../flags.js';
import { hostFlag, overlayArgument } from '../kinds.js';
import { Repeats } from '../repeats.js';
import { defineVerb } from '../verb.js';
import { missLine, timeWords } from '../words.js';

export const verb = defineVerb({
  name: 'misses',
  summary: 'Show what the kernel asks for on an overlay, as it asks, and answer nothing',
  args: [overlayArgument],
  flags: { host: hostFlag, time: timeFlag },
  examples: [['overns misses overns', 'until Ctrl-C; beside a running agent too']],
  streams: true,
  async run({ args: [name = ''], flags: { host, time } }, { signal, system, out, log, json }) {
    await using overlay = await Overlay.open(name, { signal, system, host });
    using repeats = new Repeats();
    channel('overns:overlay:warning').subscribe((message) => {
      const { error } = message as { readonly error: Error };
      // A resolver's L2 misses are missing meanwhile; the kernel itself is heard.
      const words = 'L2 misses whose packets it catches are not shown';
      repeats.say(
        'resolver',
        1,
        () => log.warn(`${error.message}; ${words}`),
        () => log.warn(`${error.message}, still; ${words}`),
      );
    });
    const misses = overlay.misses({ signal });
    let dropped = 0;
    for await (const batch of misses.batches()) {
      if (json) await out.json(...batch);
      else await out.lines(batch.map((miss) => (time ? timeWords(miss) : '') + missLine(miss)));
      if (misses.dropped > dropped)
        log.warn(`${misses.dropped - dropped} misses came faster than they could be printed`);
      dropped = misses.dropped;
    }
    return undefined;
  },
});
