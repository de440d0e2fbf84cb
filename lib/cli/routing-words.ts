/** Rules and nexthop objects as `ip rule` and `ip nexthop` print them. */
import { type Fields, family, field, list, pair, words } from './phrases.js';

/** RT_TABLE_*. */
const TABLES: Readonly<Record<number, string>> = { 253: 'default', 254: 'main', 255: 'local' };
/** IPPROTO_* that rules may name. */
const IP_PROTOCOLS: Readonly<Record<number, string>> = { 1: 'icmp', 6: 'tcp', 17: 'udp', 58: 'ipv6-icmp', 132: 'sctp' };
const WAY_FLAGS = ['dead', 'onlink', 'pervasive', 'offload', 'trap', 'linkdown', 'unresolved'];

const hex = (value: unknown): string => `0x${Number(value).toString(16)}`;

/** `100: from 10.0.0.0/8 lookup 42` */
export function ruleWords(fields: Fields): string {
  const flags = list(fields.flags);
  const action = field(fields, 'ruleAction');
  const table = Number(fields.table ?? 0);
  return words(
    `${field(fields, 'priority')}:`,
    flags.includes('invert') ? 'not' : '',
    pair('from', shortest(fields.from) ?? 'all'),
    pair('to', shortest(fields.to)),
    fields.tos === undefined ? '' : `tos ${hex(fields.tos)}`,
    pair('dscp', fields.dscp),
    fields.mark === undefined && fields.markMask === undefined ? '' : `fwmark ${mark(fields)}`,
    pair('iif', fields.iif),
    flags.includes('iif_detached') ? '[detached]' : '',
    pair('oif', fields.oif),
    flags.includes('oif_detached') ? '[detached]' : '',
    fields.l3mdev === true ? 'lookup [l3mdev-table]' : '',
    range('uidrange', fields.uids, true),
    fields.ipProtocol === undefined
      ? ''
      : `ipproto ${IP_PROTOCOLS[Number(fields.ipProtocol)] ?? `ipproto-${fields.ipProtocol}`}`,
    range('sport', fields.sourcePorts),
    range('dport', fields.destinationPorts),
    typeof fields.tunnel === 'bigint' ? `tun_id ${fields.tunnel}` : '',
    table === 0 || fields.l3mdev === true ? '' : `lookup ${TABLES[table] ?? table}`,
    pair('suppress_prefixlength', fields.suppressPrefixLength),
    pair('suppress_ifgroup', fields.suppressGroup),
    fields.realms === undefined ? '' : `realms ${realms(Number(fields.realms))}`,
    pair('goto', fields.goto),
    flags.includes('unresolved') ? '[unresolved]' : '',
    action === 'table' || action === 'goto' ? '' : action,
    fields.protocol === 'unspec' || fields.protocol === 'kernel' ? '' : pair('proto', fields.protocol),
  );
}

/** `id 7 via 10.0.0.11 dev eth0 scope link`, `id 9 group 7,3/8` */
export function nexthopWords(fields: Fields): string {
  const members = Array.isArray(fields.group) ? (fields.group as readonly Fields[]) : [];
  const own = field(fields, 'family') || family(fields.gateway);
  const gateway = fields.gateway === undefined || family(fields.gateway) === own;
  const flags = list(fields.flags);
  return words(
    pair('id', fields.id),
    members.length === 0
      ? ''
      : `group ${members.map(({ id, weight }) => `${id}${weight === undefined || weight === 1 ? '' : `,${weight}`}`).join('/')}`,
    fields.groupType === 'mpath' ? '' : pair('type', fields.groupType),
    ...resilientWords(fields.resilient),
    pair(gateway ? 'via' : `via ${family(fields.gateway)}`, fields.gateway),
    pair('dev', fields.link),
    fields.scope === 'global' ? '' : pair('scope', fields.scope),
    fields.blackhole === true ? 'blackhole' : '',
    fields.protocol === 'unspec' ? '' : pair('proto', fields.protocol),
    ...WAY_FLAGS.filter((flag) => flags.includes(flag)),
    fields.fdb === true ? 'fdb' : '',
  );
}

function shortest(prefix: unknown): string | undefined {
  return typeof prefix === 'string' ? prefix.replace(prefix.includes(':') ? /\/128$/ : /\/32$/, '') : undefined;
}

function mark({ mark: value, markMask }: Fields): string {
  const all = markMask === undefined || markMask === 0xffff_ffff;
  return all ? hex(value) : `${hex(value ?? 0)}/${hex(markMask)}`;
}

function range(word: string, value: unknown, always = false): string {
  if (typeof value !== 'object' || value === null) return '';
  const { low, high } = value as Fields;
  return `${word} ${low === high && !always ? low : `${low}-${high}`}`;
}

function realms(value: number): string {
  return value > 0xffff ? `${value >>> 16}/${value & 0xffff}` : String(value);
}

/** Hundredths of a second, shown in seconds. */
function resilientWords(value: unknown): string[] {
  if (typeof value !== 'object' || value === null) return [];
  const { buckets, idleTimer, unbalancedTimer, unbalancedTime } = value as Fields;
  const seconds = (word: string, time: unknown): string => (time === undefined ? '' : `${word} ${Number(time) / 100}`);
  return [
    pair('buckets', buckets),
    seconds('idle_timer', idleTimer),
    seconds('unbalanced_timer', unbalancedTimer),
    seconds('unbalanced_time', unbalancedTime),
  ];
}
