/**
 * What is listed, `replace` and `delete` take: replaced by what is listed of it nothing changes, and deleted by it that
 * row is gone and no other, in iproute2's eyes.
 */
import { expect, test } from 'vitest';
import { identityOf, Rtnl } from '../../lib/index.js';
import type { Netns } from '../support/netns.js';
import { describeWith } from '../support/requirements.js';
import { populated } from './populated.js';

type Json = Record<string, unknown>;
type Kind = 'address' | 'route' | 'neighbor' | 'proxy' | 'fdb';

const LISTINGS: Readonly<Record<Kind, readonly string[]>> = {
  address: ['ip -j -d address show'],
  route: ['ip -4 -j -d route show table all', 'ip -6 -j -d route show table all'],
  neighbor: ['ip -j -d neighbor show nud all'],
  proxy: ['ip -j -d neighbor show proxy'],
  fdb: ['bridge -j -d fdb show'],
};

/** Rows of iproute2 as texts, without what runs on by itself. */
async function byIproute2(netns: Netns, kind: Kind): Promise<string[]> {
  const rows: Json[] = [];
  for (const command of LISTINGS[kind]) {
    const [tool = '', ...words] = command.split(' ');
    const { stdout } = await netns.exec(tool, words);
    for (const row of JSON.parse(stdout || '[]') as Json[]) {
      if (kind !== 'address') rows.push(row);
      else for (const each of row.addr_info as Json[]) rows.push({ dev: row.ifname, ...each });
    }
  }
  const lasting = ['expires', 'valid_life_time', 'preferred_life_time'];
  return rows
    .filter(({ dst, mac }) => !/^(ff02:|33:33:)/.test(String(dst ?? mac)))
    .map((row) => JSON.stringify(row, (key, value) => (lasting.includes(key) ? 0 : value)))
    .sort();
}

async function listed(rtnl: Rtnl, kind: Kind): Promise<readonly object[]> {
  switch (kind) {
    case 'address':
      return rtnl.addresses.list();
    case 'route':
      return rtnl.routes.list();
    case 'neighbor':
      return rtnl.neighbors.list();
    case 'proxy':
      return rtnl.neighbors.list({ flags: ['proxy'] });
    case 'fdb':
      return rtnl.fdb.list();
  }
}

interface AnyTable {
  replace(row: object): Promise<void>;
  delete(row: object): Promise<void>;
}
function tableOf(rtnl: Rtnl, kind: Kind): AnyTable {
  const tables = {
    address: rtnl.addresses,
    route: rtnl.routes,
    neighbor: rtnl.neighbors,
    proxy: rtnl.neighbors,
    fdb: rtnl.fdb,
  };
  return tables[kind] as unknown as AnyTable;
}

/** What the kernel makes and keeps by itself: groups that it joins, whose entries are counted. */
const isJoined = (row: object): boolean => {
  const { mac, ip } = row as Json;
  return /^(33:33:|01:00:5e:00:00:(01|6a))/.test(String(mac)) || /^(ff02:|224\.)/.test(String(ip));
};

const KINDS: readonly Kind[] = ['address', 'route', 'neighbor', 'proxy', 'fdb'];

describeWith(['root', 'ip'], 'rows as they are listed', () => {
  test.each(KINDS)('replacing each %s by what is listed of it changes nothing', async (kind) => {
    const netns = await populated();
    await using rtnl = await Rtnl.open({ netns: netns.name });
    const before = await byIproute2(netns, kind);
    const refused: unknown[] = [];
    for (const row of await listed(rtnl, kind)) {
      if (isJoined(row)) continue;
      await tableOf(rtnl, kind)
        .replace(row)
        .catch((error: Error) => refused.push([error.message, row]));
      const after = await byIproute2(netns, kind);
      const words = JSON.stringify(row);
      expect([words, ...after.filter((each) => !before.includes(each))]).toEqual([words]);
      expect([words, ...before.filter((each) => !after.includes(each))]).toEqual([words]);
    }
    expect(refused).toEqual([]);
  });

  test.each(KINDS)('deleting each %s by what is listed of it takes that row and no other', async (kind) => {
    const netns = await populated();
    await using rtnl = await Rtnl.open({ netns: netns.name });
    const identity = kind === 'proxy' ? 'neighbor' : kind;
    const wrong: unknown[] = [];
    let left = await listed(rtnl, kind);
    let oracle = await byIproute2(netns, kind);
    const order = [...left].sort((a, b) => (identityOf(identity, a) < identityOf(identity, b) ? 1 : -1));
    for (const row of order) {
      if (isJoined(row)) continue;
      const name = identityOf(identity, row);
      // Gone with another one that it depends on, such as an address with its primary one.
      if (!left.some((each) => identityOf(identity, each) === name)) continue;
      await tableOf(rtnl, kind)
        .delete(row)
        .catch((error: Error) => wrong.push([error.message, row]));
      const now = await listed(rtnl, kind);
      const after = await byIproute2(netns, kind);
      const gone = left.filter(
        (each) => !now.some((other) => identityOf(identity, other) === identityOf(identity, each)),
      );
      const goneThere = oracle.filter((each) => !after.includes(each));
      const secondary = kind === 'address' && gone.length > 1;
      if (
        !secondary &&
        (gone.length !== 1 || identityOf(identity, gone[0] as object) !== name || goneThere.length !== 1)
      )
        wrong.push({ row, gone, goneThere });
      left = now;
      oracle = after;
    }
    expect(wrong).toEqual([]);
  });
});
