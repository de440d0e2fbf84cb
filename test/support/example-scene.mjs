/**
 * The scene that examples find: two containers, `web` and `db`, on a host with the underlay address 10.0.0.10. Loaded before an
 * example that runs on the real kernel, in the namespaces of OVERNS_NETNS_DIR.
 */
const { netns, Rtnl } = await import(new URL('../../dist/index.js', import.meta.url));

for (const name of ['web', 'db']) {
  await netns.create(name);
  const rtnl = await Rtnl.open({ netns: name });
  await rtnl.links.set({ name: 'lo', up: true });
  await rtnl.close();
}
