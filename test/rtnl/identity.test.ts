/** identityOf: no two rows of the kernel share one, and what happens to a row leaves it its own. */
import { expect, test } from 'vitest';
import { type IdentityKind, identityOf, Rtnl } from '../../lib/index.js';
import { describeWith } from '../support/requirements.js';
import { populated } from './populated.js';

async function all(rtnl: Rtnl): Promise<[kind: IdentityKind, rows: readonly object[]][]> {
  return [
    ['link', await rtnl.links.list()],
    ['address', await rtnl.addresses.list()],
    ['route', await rtnl.routes.list()],
    ['neighbor', await rtnl.neighbors.list()],
    ['fdb', await rtnl.fdb.list()],
    ['rule', await rtnl.rules.list()],
    ['nexthop', await rtnl.nexthops.list()],
  ];
}

/** Sorted; without what the kernel maps and joins by itself when it first sends to a group. */
function identities(listed: Awaited<ReturnType<typeof all>>): string[] {
  const all = listed.flatMap(([kind, rows]) => rows.map((row) => `${kind} ${identityOf(kind, row)}`));
  return all.filter((identity) => !/ (ff02:|33:33:|224\.)/.test(identity)).sort();
}

describeWith(['root', 'ip'], 'identities', () => {
  test('no two rows share one', async () => {
    const netns = await populated();
    await using rtnl = await Rtnl.open({ netns: netns.name });
    for (const [kind, rows] of await all(rtnl)) {
      const seen = new Map<string, object>();
      for (const row of rows) {
        const identity = identityOf(kind, row);
        expect([identity, seen.get(identity), row]).toEqual([identity, undefined, row]);
        seen.set(identity, row);
      }
    }
    // What made them is there: the kernel and iproute2 have the features.
    const routes = await rtnl.routes.list();
    expect(routes.filter(({ dst }) => dst === '10.5.0.0/16').length).toBe(7);
    expect((await rtnl.fdb.list({ link: 'vx1' })).length).toBe(2);
    expect((await rtnl.fdb.list({ link: 'vx0', mac: '00:00:00:00:00:00' })).length).toBe(5);
  });

  test('a link that is renamed is the same, and so is all that is on it', async () => {
    const netns = await populated();
    await using rtnl = await Rtnl.open({ netns: netns.name });
    const before = await all(rtnl);
    for (const name of ['p0', 'vx0', 'br0', 'b0']) await netns.ip(`link set ${name} name ${name}-renamed`);
    const after = await all(rtnl);
    const links = (await rtnl.links.list()).map(({ name }) => name);
    expect(links).toEqual(expect.arrayContaining(['p0-renamed', 'vx0-renamed', 'br0-renamed', 'b0-renamed']));
    expect(identities(after)).toEqual(identities(before));
  });

  test('an entry of a bridge is the same behind another port, a neighbour with another MAC', async () => {
    const netns = await populated();
    await netns.ip('link set p3 master br0');
    await using rtnl = await Rtnl.open({ netns: netns.name });
    const one = async (): Promise<object | undefined> =>
      (await rtnl.fdb.list({ mac: '02:00:00:00:01:01' })).find(({ master }) => master === 'br0');
    const before = await one();
    await netns.bridge('fdb replace 02:00:00:00:01:01 dev p3 master static');
    const after = await one();
    expect(after).not.toEqual(before);
    expect(identityOf('fdb', after ?? {})).toBe(identityOf('fdb', before ?? {}));
    const neighbor = async (): Promise<object> => (await rtnl.neighbors.list({ ip: '10.0.0.50', link: 'p0' }))[0] ?? {};
    const old = await neighbor();
    await netns.ip('neighbor replace 10.0.0.50 lladdr 02:00:00:00:00:99 dev p0 nud permanent');
    expect(identityOf('neighbor', await neighbor())).toBe(identityOf('neighbor', old));
    expect(await neighbor()).not.toEqual(old);
  });
});
