import { checkInterfaceName, unicastMac } from '../../address.js';
import { resolveContainer } from '../../container.js';
import { OvernsError } from '../../errors.js';
import { type Endpoint, Overlay, openStore, Rtnl } from '../../index.js';
import { givenAddresses } from '../attachments.js';
import { list, option, optionOr, toggle } from '../flags.js';
import {
  cidr,
  containerArgument,
  dockerFlag,
  hostFlag,
  overlayArgument,
  refuseDuplicates,
  STORE_HELP,
  storeUrl,
} from '../kinds.js';
import { defineVerb } from '../verb.js';

export const verb = defineVerb({
  name: 'attach',
  summary: 'Give a container an interface on an overlay',
  description: 'With --store its addresses are published, so that every host finds it.',
  args: [overlayArgument, containerArgument],
  flags: {
    address: list('CIDR', "the container's address", cidr, { required: true }),
    mac: option('MAC', 'default 02:42: and the IPv4 address', (text, name) => unicastMac(text, name)),
    ifname: optionOr(
      'NAME',
      "the interface's name in the container; default eth0",
      (text, name) => checkInterfaceName(text, name),
      'eth0',
    ),
    store: option('URL', `publish it: ${STORE_HELP}`, storeUrl),
    host: hostFlag,
    docker: dockerFlag,
    ensure: toggle('no error if it is attached already in the same way'),
  },
  examples: [
    ['overns attach overns demo --address 192.168.0.2/24', 'Docker\'s container or the namespace "demo"'],
    [
      'overns attach overns docker:demo --address 192.168.0.2/24 --store consul://consul/demo',
      'published in Consul under demo/',
    ],
  ],
  streams: false,
  check: ({ flags: { address } }) => refuseDuplicates(address, '--address'),
  async run({ args: [name = '', container = ''], flags }, { signal, out, json }) {
    const { address, mac, ifname, host } = flags;
    await using overlay = await Overlay.open(name, { signal, ...(host === undefined ? {} : { host }) });
    await using store = flags.store === undefined ? null : await openStore(flags.store, { signal });
    let endpoint: Endpoint;
    let attached = true;
    try {
      endpoint = await overlay.attach(container, {
        address,
        ifname,
        signal,
        ...(mac === undefined ? {} : { mac }),
        ...(store === null ? {} : { store }),
      });
    } catch (error) {
      if (!flags.ensure || (error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
      attached = false;
      endpoint = await sameEndpoint(overlay, container, { address, mac, ifname }, error as Error, signal);
      await store?.publish(endpoint, { overlay: name, vni: overlay.vni, signal });
    }
    const published = store !== null;
    if (json)
      await out.json({ overlay: name, container, ifname, addresses: address, ...endpoint, attached, published });
    else {
      await out.lines([
        `${attached ? `attached ${container} to` : `${container} is attached already to`} overlay ${name}: ` +
          `${ifname} ${address.join(' ')} ${endpoint.mac}, vtep ${endpoint.vtep}`,
        ...(published ? ['  published in the store'] : []),
      ]);
    }
    return undefined;
  },
});

/** The endpoint that stands in the way, if it is the one that was asked for; else the error that it caused. */
async function sameEndpoint(
  overlay: Overlay,
  container: string,
  wanted: { readonly address: readonly string[]; readonly mac: string | undefined; readonly ifname: string },
  error: Error,
  signal: AbortSignal,
): Promise<Endpoint> {
  const ips = wanted.address.map((address) => address.replace(/\/.*/, ''));
  const endpoint = (await overlay.endpoints({ signal })).find((each) => each.ips.includes(ips[0] as string));
  if (endpoint === undefined) throw error;
  const { path } = await resolveContainer(container, { signal });
  await using rtnl = await Rtnl.open({ netns: { path }, signal });
  const link = (await rtnl.links.list({ name: wanted.ifname }, { signal }))[0];
  const differences: string[] = [];
  if (link?.mac !== endpoint.mac) differences.push(`its ${ips[0]} belongs to another container`);
  else {
    const listed = await rtnl.addresses.list({ link: wanted.ifname }, { signal });
    const own = givenAddresses(listed, wanted.address);
    if (own.join(' ') !== [...wanted.address].sort().join(' ')) {
      differences.push(`${wanted.ifname} has ${own.join(' ') || 'no address'}`);
    }
    if (wanted.mac !== undefined && wanted.mac !== endpoint.mac)
      differences.push(`mac ${endpoint.mac} instead of ${wanted.mac}`);
  }
  if (differences.length === 0) return endpoint;
  throw new OvernsError(
    'EEXIST',
    `${container} is attached to overlay ${overlay.name}, but not in the same way: ${differences.join(', ')}`,
    {
      hint: `\`overns detach ${overlay.name} --address ${ips[0]}\` removes what is there`,
      cause: error,
    },
  );
}
