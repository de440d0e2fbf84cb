import { inProcessUrl } from '../../store/index.js';
import { option, optionOr, whole } from '../flags.js';
import { STORE_HELP, storeUrl } from '../kinds.js';
import { usageError } from '../usage.js';
import { defineVerb } from '../verb.js';

const MOST_HOSTS = 32;

export const verb = defineVerb({
  name: 'demo',
  summary: 'Show it at work: test hosts, an overlay on each, containers, pings across; then clean up',
  args: [],
  flags: {
    store: option(
      'URL',
      `use a real store: ${STORE_HELP}; default ${inProcessUrl()}, one inside the demo`,
      (text, name) => (text === inProcessUrl() ? undefined : storeUrl(text, name)),
    ),
    hosts: optionOr(
      'N',
      `test hosts, 2 to ${MOST_HOSTS}; default 2`,
      whole((value, name) => {
        if (value < 2 || value > MOST_HOSTS)
          throw usageError(`${name}: ${value} is not a number of hosts: 2 to ${MOST_HOSTS}`);
        return value;
      }),
      2,
    ),
  },
  examples: [
    ['overns demo', 'two hosts, the store inside'],
    ['overns demo --hosts 4 --json', 'four hosts, the outcome as one JSON object'],
  ],
  streams: true,
  async run({ flags: { store, hosts } }, context) {
    const { demo } = await import('../demo/demo.js');
    return demo({ store, hosts }, context);
  },
});
