/**
 * What examples find: two containers, `web` and `db`, on a host with the underlay address 10.0.0.10. Loaded before an
 * example that runs on the real kernel, in the namespaces of OVERNS_NETNS_DIR.
 */
const dist = new URL('../../dist/', import.meta.url);
const { native } = await import(new URL('native.js', dist));
const { Rtnl } = await import(new URL('index.js', dist));

for (const name of ['web', 'db']) {
  await native().createNetns(`${process.env.OVERNS_NETNS_DIR}/${name}`);
  const rtnl = await Rtnl.open({ netns: name });
  await rtnl.links.set({ name: 'lo', up: true });
  await rtnl.close();
}
