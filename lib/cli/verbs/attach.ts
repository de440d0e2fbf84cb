import { checkInterfaceName, unicastIp, unicastMac } from '../../core/address.js';
import { type ContainerRoute, Overlay, openStore } from '../../index.js';
import {
  checkAddresses,
  checkGateways,
  checkRoutes,
  containerNetwork,
  routeTarget,
} from '../../overlay/ports/container-network.js';
import { list, many, option, optionOr, toggle } from '../flags.js';
import {
  cidr,
  containerArgument,
  dockerFlag,
  hostFlag,
  overlayArgument,
  refuseDuplicates,
  STORE_EXAMPLE,
  STORE_HELP,
  storeUrl,
} from '../kinds.js';
import { storeNote } from '../store-notes.js';
import { defineVerb } from '../verb.js';

export const verb = defineVerb({
  name: 'attach',
  summary: 'Give a container an interface on an overlay',
  description:
    'Its addresses are published, so that every host finds it: by the agent that serves the overlay, or with --store, where there is none, until they are withdrawn.',
  args: [overlayArgument, containerArgument],
  flags: {
    address: list(
      'CIDR',
      "the container's address; default: the next free one of br0's network, of each family that it has, which takes an agent or --store",
      cidr,
    ),
    mac: option('MAC', 'default 02:42: and the IPv4 address', (text, name) => unicastMac(text, name)),
    ifname: optionOr(
      'NAME',
      "the interface's name in the container; default eth0",
      (text, name) => checkInterfaceName(text, name),
      'eth0',
    ),
    gateway: list(
      'IP',
      "the gateway of the container's default route: br0's address as a rule; none by default",
      (text, name) => unicastIp(text, name),
    ),
    route: many(
      'CIDR[,via IP]',
      'a further route through the interface, by way of another gateway if that is given',
      (text, name) => readRoute(text, name),
    ),
    'any-mac': toggle(
      'let frames of other MAC addresses leave the container, for one that runs a bridge or virtual machines',
    ),
    'any-address': toggle("take an address that br0's own speak against, such as one outside its network"),
    store: option('URL', `publish it, where no agent does: ${STORE_HELP}`, storeUrl),
    takeover: toggle('take its addresses from the host that has them in the store'),
    host: hostFlag,
    docker: dockerFlag,
    ensure: toggle('no error if it is attached already in the same way'),
  },
  examples: [
    ['overns attach overns demo --address 192.168.0.2/24', 'Docker\'s container or the namespace "demo"'],
    [`overns attach overns demo --store ${STORE_EXAMPLE}`, 'with the next free address, published in a store'],
    [
      `overns attach overns docker:demo --address 192.168.0.2/24 --store ${STORE_EXAMPLE}`,
      'published in a store, under demo/',
    ],
  ],
  streams: false,
  check({ flags: { address, gateway, route } }) {
    refuseDuplicates(address, '--address');
    if (address.length === 0) return;
    containerNetwork(
      checkAddresses(address, '--address'),
      checkGateways(gateway, '--gateway'),
      checkRoutes(route, '--route'),
    );
  },
  async run({ args: [name = '', container = ''], flags }, { signal, system, out, json }) {
    const { address, mac, ifname, gateway, route: routes, host } = flags;
    await using overlay = await Overlay.open(name, { signal, system, host });
    await using store = flags.store === undefined ? null : await openStore(flags.store, { signal });
    const options = {
      address: address.length === 0 ? undefined : address,
      ifname,
      mac,
      gateway,
      routes,
      anyAddress: flags['any-address'],
      anyMac: flags['any-mac'],
      store: store ?? undefined,
      takeover: flags.takeover,
      signal,
    };
    let attached = true;
    const endpoint = await overlay.attach(container, options).catch((error: NodeJS.ErrnoException) => {
      if (!flags.ensure || error.code !== 'EEXIST') throw error;
      attached = false;
      return overlay.attach(container, { ...options, ensure: true });
    });
    const note = await storeNote(name, 'published', endpoint.mac, store !== null, { signal, system });
    if (json) await out.json({ overlay: name, ...endpoint, gateway, routes, attached, published: note.done });
    else {
      await out.lines([
        `${attached ? `attached ${container} to` : `${container} is attached already to`} overlay ${name}: ` +
          `${ifname} ${endpoint.addresses.join(' ')} ${endpoint.mac}, vtep ${endpoint.vtep}`,
        ...gateway.map((ip) => `  default via ${ip}`),
        ...routes.map(({ dst, via }) => `  ${dst}${via === undefined ? '' : ` via ${via}`}`),
        ...note.lines,
      ]);
    }
    return undefined;
  },
});

/** `10.8.0.0/16`, `10.8.0.0/16,via 192.168.0.254`, `10.8.0.0/16 via 192.168.0.254`, or `default` instead of a network. */
function readRoute(text: string, name: string): ContainerRoute {
  const [, dst = '', via] = /^([^\s,]*)(?:(?:\s*,\s*|\s+)(?:via\s+)?(.*))?$/s.exec(text) ?? [];
  const target = routeTarget(dst, name);
  return via === undefined ? { dst: target } : { dst: target, via: unicastIp(via, name) };
}
