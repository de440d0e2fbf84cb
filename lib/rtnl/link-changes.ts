/** Finds the changes that make an existing link as it is wanted. */
import { isDeepStrictEqual } from 'node:util';
import { canonicalMac } from '../core/address.js';
import type { Link } from './types.js';

type Item = Readonly<Record<string, unknown>>;

/** Fields that say which link is meant, or that nobody is asked to change. */
const NO_CHANGE: ReadonlySet<string> = new Set([
  'name',
  'index',
  'kind',
  'running',
  'flags',
  'hardware',
  'operstate',
  'slaveKind',
  'linkNetnsid',
  'alternativeNames',
  'unknown',
]);

/** The fields of a link that are wanted to be other than they are. */
export function changesOf(existing: Link, wanted: Item): Item {
  const there = existing as unknown as Item;
  const changes: Record<string, unknown> = {};
  for (const [field, value] of Object.entries(wanted)) {
    if (value === undefined || NO_CHANGE.has(field)) continue;
    if (field === 'master' && value === null && there.master === undefined) continue;
    if (!isAlready(field, there[field], value)) changes[field] = value;
  }
  return changes;
}

function isAlready(field: string, value: unknown, wanted: unknown): boolean {
  if (field === 'bridgePort' && typeof wanted === 'object' && typeof value === 'object') {
    return Object.entries(wanted ?? {}).every(
      ([name, each]) => each === undefined || isAlready(name, (value as Item | null)?.[name], each),
    );
  }
  if (isDeepStrictEqual(value, wanted)) return true;
  if ((field === 'mac' || field === 'broadcast') && typeof wanted === 'string') {
    return wanted.length === 17 && canonicalMac(wanted) === value;
  }
  // The kernel leaves it out where it is not set.
  return value === undefined && (wanted === false || wanted === 0);
}

/** The changes that no request can make: to what a link stands upon, and to the other end of a veth. */
export function whyUnchangeable(existing: Link, changes: Item): string | undefined {
  if (typeof changes.link === 'number' && changes.link !== existing.link) return 'link';
  if (changes.peer !== undefined) return 'peer';
  return undefined;
}
