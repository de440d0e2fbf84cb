import { unicastIp } from '../../core/address.js';
import { Overlay, openStore } from '../../index.js';
import { option } from '../flags.js';
import {
  containerArgument,
  dockerFlag,
  hostFlag,
  overlayArgument,
  STORE_EXAMPLE,
  STORE_HELP,
  storeUrl,
} from '../kinds.js';
import { storeNote } from '../store-notes.js';
import { usageError } from '../usage.js';
import { defineVerb } from '../verb.js';

export const verb = defineVerb({
  name: 'detach',
  summary: "Take a container's interface on an overlay away",
  description:
    'Its addresses are withdrawn by the agent that serves the overlay, or with --store. --address also finds an endpoint whose container is gone.',
  args: [overlayArgument, { ...containerArgument, optional: true }],
  flags: {
    // The variable is attach's as well, with a prefix length there.
    address: option('IP', 'the endpoint by its address, instead of its container', (text, name) =>
      unicastIp(name.startsWith('--') ? text : text.replace(/\/\d+$/, ''), name),
    ),
    store: option('URL', `withdraw it: ${STORE_HELP}`, storeUrl),
    host: hostFlag,
    docker: dockerFlag,
  },
  examples: [
    [`overns detach overns demo --store ${STORE_EXAMPLE}`, 'Docker\'s container or the namespace "demo"'],
    ['overns detach overns --address 192.168.0.2', 'whoever has that address'],
  ],
  streams: false,
  check({ args: [, container], flags: { address } }, given) {
    const byAddress = given.has('address') || (container === undefined && address !== undefined);
    if (container !== undefined && byAddress)
      throw usageError('detach: CONTAINER and --address are both given', 'name one of them');
    if (container === undefined && !byAddress)
      throw usageError('detach: CONTAINER is missing', 'name it, or its address with --address IP');
  },
  async run({ args: [name = '', container], flags }, { signal, system, out, json }) {
    const { host, address } = flags;
    await using overlay = await Overlay.open(name, { signal, system, host });
    await using store = flags.store === undefined ? null : await openStore(flags.store, { signal });
    const target = container ?? { ip: address ?? '' };
    const endpoint = await overlay.detach(target, { signal, ...(store === null ? {} : { store }) });
    const note = await storeNote(name, 'withdrawn', endpoint.mac, store !== null, { signal, system });
    if (json) await out.json({ overlay: name, ...endpoint, detached: true, withdrawn: note.done });
    else {
      await out.lines([
        `detached ${container ?? address} from overlay ${name}: ${endpoint.ips.join(' ')} ${endpoint.mac}`,
        ...note.lines,
      ]);
    }
    return undefined;
  },
});
