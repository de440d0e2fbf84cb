import { checkMtu, checkPort, checkVni, VXLAN_PORT, vtepIp } from '../../core/address.js';
import { Overlay } from '../../index.js';
import { list, needed, option, optionOr, toggle, whole } from '../flags.js';
import { cidr, hostFlag, overlayArgument, refuseDuplicates } from '../kinds.js';
import { defineVerb } from '../verb.js';

export const verb = defineVerb({
  name: 'create',
  summary: 'Make an overlay: a namespace with a bridge and a vxlan device that is linked to the host',
  description:
    'Everything is made, or nothing is left behind. The same name, VNI and gateway address on every host make one network of them.',
  args: [overlayArgument],
  flags: {
    vni: needed('N', "the network's VXLAN identifier, 1 to 16777215", whole(checkVni)),
    address: list('CIDR', "the bridge's address, the containers' gateway; the same on every host", cidr),
    port: optionOr('N', `UDP port of the VXLAN traffic; default ${VXLAN_PORT}`, whole(checkPort), VXLAN_PORT),
    mtu: optionOr<number | 'auto'>(
      'auto|N',
      "the overlay's MTU; default auto: the underlay's less the overhead",
      (text, name) => (text === 'auto' ? 'auto' : whole(checkMtu)(text, name)),
      'auto',
    ),
    vtep: option('IP', "this host's underlay address; default that of the route out of the host", (text, name) =>
      vtepIp(text, name),
    ),
    learning: toggle('let vxlan1 learn where MAC addresses are, for hosts of other makes that use no store'),
    host: hostFlag,
    ensure: toggle('no error if it exists already and is the same'),
  },
  examples: [
    [
      'overns create overns --vni 42 --address 192.168.0.1/24',
      'the overlay "overns", its containers in 192.168.0.0/24',
    ],
    [
      'overns create blue --vni 43 --address 10.1.0.1/16 --address fd00:43::1/64 --vtep 10.0.0.10',
      'both IP versions, the underlay address given',
    ],
  ],
  streams: false,
  check({ flags: { address, mtu } }) {
    refuseDuplicates(address, '--address');
    if (mtu !== 'auto' && address.some((each) => each.includes(':'))) checkMtu(mtu, '--mtu', 6);
  },
  async run({ args: [name = ''], flags }, { signal, system, out, json }) {
    const { vni, port, mtu, vtep, host, learning, address: addresses } = flags;
    const options = {
      name,
      vni,
      port,
      mtu,
      vtep,
      host,
      ...(learning && { learning }),
      signal,
      system,
      address: addresses,
    };
    let created = true;
    await using existing = await Overlay.create(options).catch((error: NodeJS.ErrnoException) => {
      if (!flags.ensure || error.code !== 'EEXIST') throw error;
      created = false;
      return Overlay.ensure(options);
    });
    const made = {
      overlay: name,
      vni,
      vtep: existing.vtep,
      port: existing.port,
      mtu: existing.mtu,
      addresses,
      created,
    };
    if (json) await out.json(made);
    else {
      await out.lines([
        `${created ? 'created' : 'exists already:'} overlay ${name}: vni ${vni}, vtep ${made.vtep} port ${made.port}, mtu ${made.mtu}`,
        ...(addresses.length === 0 ? [] : [`  br0 ${addresses.join(' ')}`]),
      ]);
    }
    return undefined;
  },
});
