/**
 * Checks the names of fields: one that is misspelt, or of another kind of link, would otherwise be taken in silence. Rows
 * as they are listed or told of have state beside what can be asked for; that is taken, and passed over.
 */
import { invalidArgument, invalidType } from '../core/errors.js';
import { foreignNames, unknownName } from '../core/options.js';
import { nearest } from '../core/suggest.js';
import type { ListedName, TableName } from '../system/native.js';
import { ANY_LINK, FILTER_TYPES, FLUSH_FIELDS, LINK_KINDS, NESTED_FIELDS, ROW_FIELDS } from './field-names.js';
import { canonicalFilter, checkType } from './filter.js';
import { checkDeletion, checkNamesRule, refuseUndefined } from './removal.js';

type Item = Readonly<Record<string, unknown>>;

/** The names that the fields of iproute2 have here. */
const IPROUTE2: Readonly<Record<string, readonly string[]>> = {
  dev: ['link', 'device'],
  via: ['gateway'],
  src: ['source'],
  lladdr: ['mac'],
  address: ['mac', 'ip'],
  nud: ['state'],
  id: ['vni', 'vlanId'],
  remote: ['group'],
  dstport: ['port'],
  srcport: ['portRange'],
  external: ['collectMetadata'],
  maxaddress: ['limit'],
  nhid: ['nexthop'],
  lookup: ['table'],
  pref: ['priority', 'preference'],
  fwmark: ['mark'],
  sport: ['sourcePorts'],
  dport: ['destinationPorts'],
  ipproto: ['ipProtocol'],
  valid_lft: ['validLifetime'],
  preferred_lft: ['preferredLifetime'],
};
/** Fields of an event that are not of its row. */
const EVENT_FIELDS: ReadonlySet<string> = new Set(['kind', 'action', 'ruleAction', 'atNs', 'netns', 'replaced']);
/** More names than a line of text should list. */
const MANY = 30;

/**
 * Names that are known. Rows that follow one another mostly have the same ones in the same order, so each is compared with
 * the one that stood there last before it is looked for: a batch of 100,000 has half a million.
 */
class Names {
  readonly known: readonly string[];
  readonly #set: ReadonlySet<string>;
  readonly #last: string[] = [];

  constructor(known: readonly string[]) {
    this.known = known;
    this.#set = new Set(known);
  }

  has(name: string): boolean {
    return this.#set.has(name);
  }

  /** True when the object has nothing but known names, those of its prototype included. */
  cover(item: object): boolean {
    const last = this.#last;
    let at = 0;
    for (const name in item) {
      if (last[at] !== name) {
        if (!this.#set.has(name)) return false;
        last[at] = name;
      }
      at++;
    }
    return true;
  }

  /** The first name that means nothing. */
  foreign(item: object): string | undefined {
    if (this.cover(item)) return undefined;
    for (const name of foreignNames(item, { includes: (each) => this.#set.has(each) })) return name;
    return undefined;
  }
}

const OPERATION = new Names(['op', 'item']);
const NESTED = new Map([...NESTED_FIELDS].map(([field, names]) => [field, new Names(names)]));
const LINKS_OF_NO_KIND = new Names(ANY_LINK);
const LINKS = new Map([...LINK_KINDS].map(([kind, names]) => [kind, new Names([...ANY_LINK, ...names])]));
const LINKS_OF_ALL_KINDS = new Names([...new Set([...ANY_LINK, ...[...LINK_KINDS.values()].flat()])]);

type Rows = Exclude<TableName, 'link'>;
const named = (fields: Readonly<Partial<Record<Rows, readonly string[]>>>): Partial<Record<Rows, Names>> =>
  Object.fromEntries(Object.entries(fields).map(([table, names]) => [table, new Names(names)]));
const ROWS = named(ROW_FIELDS) as Readonly<Record<Rows, Names>>;
const FILTERS = Object.fromEntries(
  Object.entries(FILTER_TYPES).map(([table, types]) => [table, new Names(Object.keys(types))]),
) as Readonly<Record<ListedName, Names>>;
const FLUSH = new Names(FLUSH_FIELDS);

const ONE: Readonly<Record<Rows, string>> = {
  address: 'an address',
  route: 'a route',
  neighbor: 'a neighbour',
  fdb: 'an FDB entry',
  rule: 'a rule',
  nexthop: 'a nexthop',
};

/**
 * An operation of a batch, which is an object with a verb and an item and nothing else.
 * @throws TypeError, RangeError
 */
export function checkOperation(operation: unknown): { readonly op: unknown; readonly item: object } {
  if (operation === null || typeof operation !== 'object') throw invalidType('operation', operation, 'an object');
  const name = OPERATION.foreign(operation);
  if (name !== undefined) throw unknownName('field of an operation', name, remedy(name, OPERATION));
  const { item } = operation as { readonly item?: unknown };
  if (item === null || typeof item !== 'object') throw invalidType('item', item, 'an object');
  return operation as { readonly op: unknown; readonly item: object };
}

/**
 * Refuses names that what is to be made, changed or deleted has not.
 * @throws RangeError
 */
export function checkFields(table: TableName, op: unknown, item: object): void {
  if (table === 'link') {
    checkLink(op, item as Item);
  } else {
    const names = ROWS[table];
    if (!names.cover(item)) refuse(ONE[table], item, names, 'atNs' in item);
    checkListed(table, item as Item);
    if (op === 'delete') checkDeletion(table, item);
    else if (table === 'rule') checkNamesRule(item);
    // They come in great numbers, and have no parts but what is unknown.
    if (table === 'neighbor' || table === 'fdb') return;
  }
  checkNested(item as Item);
}

const PLAIN_ENTRIES = {
  neighbor: new Names(['link', 'ip', 'mac', 'state']),
  fdb: new Names(['link', 'mac', 'dst', 'state']),
};

/** True for an entry with none but the fields that nearly every one has. */
export function isPlainEntry(table: 'neighbor' | 'fdb', item: object): boolean {
  return PLAIN_ENTRIES[table].cover(item);
}

/** By table: the fields that its rows are listed with, and that nothing is asked for by. */
const LISTED_ONLY: Readonly<Record<Rows, readonly string[]>> = {
  address: ['unknown'],
  route: [],
  neighbor: ['unknown'],
  fdb: ['master', 'masterIndex', 'linkNetnsid', 'unknown'],
  rule: [],
  nexthop: ['master', 'masterIndex', 'scope'],
};

/** Refuses what no listing would tell: those fields are passed over, and say something wrong all the same. */
function checkListed(table: Rows, item: Item): void {
  for (const name of LISTED_ONLY[table]) {
    const value = item[name];
    if (value === undefined) continue;
    checkType(FILTER_TYPES[table][name], name, value);
    if (name === 'unknown' && item.linkIndex === undefined)
      throw invalidArgument(name, 'attributes', `left out: ${ONE[table]} is listed with them, and written without`);
    if (name === 'scope') canonicalFilter(table, { scope: value });
  }
}

/** Refuses names that a filter of a listing has not. */
export function checkFilterFields(table: ListedName, filter: object): void {
  const names = FILTERS[table];
  if (!names.cover(filter)) refuse('the filter', filter, names, false);
  checkNested(filter as Item);
}

/** Refuses names that a filter of `fdb.flush` has not, and what might flush more than is meant. */
export function checkFlushFields(filter: object): void {
  refuseUndefined(filter as Item);
  if (!FLUSH.cover(filter)) refuse('the filter', filter, FLUSH, false);
}

function refuse(what: string, item: object, names: Names, isEvent: boolean): void {
  const allowed = { includes: (name: string) => names.has(name) || (isEvent && EVENT_FIELDS.has(name)) };
  for (const name of foreignNames(item, allowed)) throw unknownName(`field of ${what}`, name, remedy(name, names));
}

function remedy(name: string, names: Names): string {
  const word = Object.hasOwn(IPROUTE2, name) ? IPROUTE2[name]?.find((each) => names.has(each)) : undefined;
  const meant = word ?? nearest(name, names.known);
  if (meant !== undefined) return `did you mean ${meant}?`;
  return names.known.length > MANY ? 'there is none like it' : `there are ${names.known.join(', ')}`;
}

function checkLink(op: unknown, item: Item): void {
  const { kind } = item;
  // Replaced or deleted without its kind, a link is one that there is, whatever its kind.
  const any = kind === undefined ? op === 'replace' || op === 'delete' : typeof kind !== 'string';
  const names = any ? LINKS_OF_ALL_KINDS : (LINKS.get(kind as string) ?? LINKS_OF_NO_KIND);
  const name = names.foreign(item);
  if (name === undefined) return;
  const what = typeof kind === 'string' && kind !== '' ? `a link of kind ${kind.slice(0, 80)}` : 'a link';
  throw unknownName(`field of ${what}`, name, linkRemedy(name, kind, names));
}

function linkRemedy(name: string, kind: unknown, names: Names): string {
  const kinds = kindsWith(name);
  if (kinds !== '') return `it belongs to ${kinds}${kind === undefined ? ', whose kind has to be given' : ''}`;
  const words = remedy(name, names);
  const elsewhere = nearest(name, LINKS_OF_ALL_KINDS.known);
  if (words.startsWith('did') || elsewhere === undefined) return words;
  return `did you mean ${elsewhere}? It belongs to ${kindsWith(elsewhere)}`;
}

/** "links of kind vxlan, geneve", or nothing. */
function kindsWith(name: string): string {
  const kinds = [...LINK_KINDS].filter(([, names]) => names.includes(name)).map(([kind]) => kind);
  return kinds.length === 0 ? '' : `links of kind ${kinds.join(', ')}`;
}

/** Refuses names that the objects within a row have not. */
function checkNested(item: Item): void {
  for (const field in item) {
    const value = item[field];
    if (typeof value !== 'object' || value === null) continue;
    const names = NESTED.get(field);
    if (names === undefined) continue;
    if (!Array.isArray(value)) checkPart(field, value, names);
    // By its keys: an array may have a length of billions, and holes.
    else for (const at in value) checkPart(`${field}[${at}]`, value[at], names);
  }
}

function checkPart(path: string, part: unknown, names: Names): void {
  if (typeof part !== 'object' || part === null) return;
  const name = names.foreign(part);
  if (name !== undefined) throw unknownName(`field of ${path}`, name, remedy(name, names));
  if ('unknown' in part) checkNested(part as Item);
}
