/**
 * Store URLs. `{vni}` and `{name}` in the prefix of one stand for those of the overlay in question, so that one URL
 * serves many networks without mixing them.
 */
import { checkOverlayName, checkVni } from '../core/address.js';
import { invalidArgument, invalidType } from '../core/errors.js';
import { redactUrl } from '../core/secrets.js';
import type { Where } from './contract.js';
import type { StoreAddress, StoreDriver } from './driver.js';
import { driverOf, storeDrivers } from './registry.js';

/** A store URL, with the driver that opens it. */
export interface StoreUrl extends StoreAddress {
  readonly driver: StoreDriver;
  /** True when the prefix has placeholders: it takes an overlay to say where a record is. */
  readonly templated: boolean;
}

const PLACEHOLDER = /\{(vni|name)\}/g;

/**
 * Parses a store URL.
 *
 * @throws RangeError `ERR_INVALID_ARG_VALUE` if it is none; credentials in it are not repeated in the message.
 */
export function parseStoreUrl(url: unknown, name = 'store'): StoreUrl {
  if (typeof url !== 'string') throw invalidType(name, url, `a store URL: ${forms()}`);
  const driver = driverOf(/^[^:]*(?=:)/.exec(url)?.[0].toLowerCase() ?? '');
  const refuse = (why: string) => invalidArgument(name, (driver?.redact ?? redactUrl)(url), why);
  if (driver === undefined) throw refuse(`a store URL: write ${forms()}`);
  const address = driver.parse(url, refuse);
  return { ...address, driver, templated: address.prefix.search(PLACEHOLDER) >= 0 };
}

function forms(): string {
  return storeDrivers()
    .map(({ form }) => form)
    .join(' or ');
}

/** The prefix of one overlay: placeholders replaced. Where there are none, every overlay has the same. */
export function prefixFor(url: StoreUrl, where: Where): string {
  return url.templated ? fill(url.prefix, where, (value) => value) : url.prefix;
}

/** The URL of one overlay's records, in its one spelling: placeholders replaced. */
export function expandStoreUrl(url: string, overlay: { readonly name: string; readonly vni: number }): string {
  return textFor(parseStoreUrl(url), { overlay: overlay.name, vni: overlay.vni });
}

/** As {@link expandStoreUrl}: equal for two URLs that lead to the same records. */
export function textFor(url: StoreUrl, where: Where): string {
  return url.templated ? fill(url.text, where, encodeURIComponent) : url.text;
}

function fill(text: string, where: Where, quote: (value: string) => string): string {
  const vni = checkVni(where.vni, 'vni');
  const name = text.includes('{name}') ? checkOverlayName(where.overlay, 'overlay') : '';
  // It would be a placeholder itself wherever the result is written as a URL again.
  if (/[{}]/.test(name)) throw invalidArgument('overlay', name, 'a name without braces, which {name} needs');
  // A function as replacement: a string's `$&` would be a pattern.
  return text.replace(PLACEHOLDER, (_, which) => quote(which === 'vni' ? String(vni) : name));
}
