// @ts-check
/**
 * overns makes an overlay, attaches a container and takes it down again, once, in a fresh process; with the option `again`
 * it has done so once before.
 *
 * attach.mjs PACKAGE OPTIONS(JSON): prints milliseconds of each as JSON.
 */
const [, , folder = '', json = '{}'] = process.argv;
const { name, host, container, address, again } = JSON.parse(json);
const { Overlay } = await import(`${folder}/dist/index.js`);

async function once() {
  const took = {};
  let last = performance.now();
  /** @param {string} step */
  const lap = (step) => {
    const now = performance.now();
    Object.assign(took, { [step]: now - last });
    last = now;
  };
  const overlay = await Overlay.create({ name, vni: 4242, address: '192.168.0.1/24', host });
  lap('create');
  await overlay.attach(`netns:${container}`, { address });
  lap('attach');
  await overlay.delete();
  lap('delete');
  return took;
}

if (again) await once();
process.stdout.write(`${JSON.stringify(await once())}\n`);
