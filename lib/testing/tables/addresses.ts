/** The addresses of a fake namespace. */
import type { Verb } from '../entries.js';
import { boolean, type Item, number, type Prefix, prefix, text } from '../fields.js';
import { Refusal } from '../refusal.js';
import type { Links } from './links.js';
import { type FakeAddress, type FakeLink, type Observer, type Row, Table } from './table.js';

const IFA_F = { nodad: 0x02, permanent: 0x80 };
const SCOPES: Readonly<Record<number, string>> = { 0: 'global', 200: 'site', 253: 'link', 254: 'host' };

export class Addresses extends Table<FakeAddress> {
  readonly #links: Links;
  readonly #lastIp4: (link: FakeLink) => void;

  /** @param lastIp4 called when a link has lost its last IPv4 address */
  constructor(observers: ReadonlySet<Observer>, links: Links, lastIp4: (link: FakeLink) => void) {
    super('address', observers);
    this.#links = links;
    this.#lastIp4 = lastIp4;
  }

  row(address: FakeAddress): Row {
    return {
      link: address.link.name,
      linkIndex: address.link.index,
      address: `${address.ip}/${address.length}`,
      family: address.family === 4 ? 'inet' : 'inet6',
      scope: address.scope,
      flags: [...((address.flags & IFA_F.nodad) !== 0 ? ['nodad'] : []), 'permanent'],
      ...(address.label === undefined ? {} : { label: address.label }),
    };
  }

  change(verb: Verb, item: Item): void {
    const given = prefix(item, 'address');
    if (given === undefined) throw new TypeError('address: expected a string');
    const link = this.#links.of(text(item, 'link') ?? '', number(item, 'linkIndex', 0x7fff_ffff), verb === 'delete');
    const same = (each: FakeAddress): boolean => {
      return each.link === link && each.ip === given.ip && (each.family === 6 || each.length === given.length);
    };
    const words = given.family === 4 ? ['ipv4: Address', 'ipv4: Address'] : ['ipv6: address', 'ipv6: address'];
    if (verb === 'delete') {
      const gone = this.drop(same);
      if (gone.length > 0) {
        const left = this.items.some((each) => each.link === link && each.family === 4);
        if (given.family === 4 && !left) this.#lastIp4(link);
        return;
      }
      throw new Refusal('EADDRNOTAVAIL', 'RTM_DELADDR', { kernelMessage: `${words[0]} not found` });
    }
    const there = this.items.find(same);
    if (there !== undefined && verb === 'add') {
      throw new Refusal('EEXIST', 'RTM_NEWADDR', { kernelMessage: `${words[1]} already assigned` });
    }
    const scope = number(item, 'scope', 255) ?? 0;
    const added: FakeAddress = {
      ...given,
      link,
      scope: /^fe[89ab]/.test(given.ip) ? 'link' : (SCOPES[scope] ?? String(scope)),
      flags: IFA_F.permanent | (given.family === 6 && boolean(item, 'nodad') === true ? IFA_F.nodad : 0),
      label: given.family === 4 ? (text(item, 'label') ?? link.name) : undefined,
      prefixRoute: boolean(item, 'noprefixroute') !== true,
    };
    if (there === undefined) this.items.push(added);
    else this.items[this.items.indexOf(there)] = added;
    this.tell('new', added);
  }

  /** Those that `lo` has once it is up. */
  addLoopback(lo: FakeLink): void {
    for (const address of ['127.0.0.1/8', '::1/128']) {
      const parsed = prefix({ address }, 'address') as Prefix;
      if (this.items.some((each) => each.ip === parsed.ip)) continue;
      const label = parsed.family === 4 ? 'lo' : undefined;
      const added = { ...parsed, link: lo, scope: 'host', flags: IFA_F.permanent, label, prefixRoute: false };
      this.items.push(added);
      this.tell('new', added);
    }
  }
}
