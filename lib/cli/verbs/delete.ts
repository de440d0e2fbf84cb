import { Overlay, type OvernsError } from '../../index.js';
import { hostFlag, overlayArgument } from '../kinds.js';
import { printable } from '../output.js';
import { defineVerb } from '../verb.js';

export const verb = defineVerb({
  name: 'delete',
  summary: 'Remove an overlay; its containers stay and lose their interface',
  description:
    "Its vxlan device, its side of the containers' interfaces, its bridge and its namespace's name go. So does what a deletion that was killed has left. What was published in a store stays published: detach withdraws it.",
  args: [overlayArgument],
  flags: { host: hostFlag },
  examples: [['overns delete overns', 'the overlay "overns"']],
  streams: false,
  async run({ args: [name = ''], flags: { host } }, { signal, system, out, json }) {
    // Deleting closes it as well; closing twice is fine.
    await using overlay = await Overlay.open(name, { signal, system, host }).catch((error: OvernsError) => {
      if (error.code !== 'OVERNS_INCOMPLETE') throw error;
      return undefined;
    });
    const attached = (await overlay?.endpoints({ signal })) ?? [];
    await (overlay === undefined ? Overlay.delete(name, { signal, system }) : overlay.delete({ signal }));
    const vni = overlay?.vni;
    if (json) await out.json({ overlay: name, vni, deleted: true, endpoints: attached });
    else {
      await out.lines([
        `deleted overlay ${name}`,
        ...attached.map(
          ({ container, ips }) => `  ${printable(container || 'a container')} lost its interface with ${ips.join(' ')}`,
        ),
        ...(attached.length === 0
          ? []
          : ['  what was published of them stays in the store: `overns records delete` takes it away']),
        ...attached.map(({ ips, mac }) => `    ${ips.map((ip) => `arp ${ip}`).join(', ')}, fib ${mac}`),
      ]);
    }
    return undefined;
  },
});
