// @ts-check
/**
 * overns as a listener, in a fresh process.
 *
 * monitor.mjs PACKAGE NETNS: prints `ready`, counts new neighbours, and answers each line on stdin by
 * { received, overruns, last }, `last` being when the last one came, milliseconds since 1970. With `--dump`: lists the neighbours once, prints { rows, seconds }.
 */
import { createInterface } from 'node:readline';

const [, , folder = '', netns = '', mode] = process.argv;
const { Rtnl } = await import(`${folder}/dist/index.js`);
const rtnl = await Rtnl.open({ netns: { path: netns } });

if (mode === '--dump') {
  const start = performance.now();
  const rows = await rtnl.neighbors.list({ link: 'vxlan1' });
  process.stdout.write(`${JSON.stringify({ rows: rows.length, seconds: (performance.now() - start) / 1000 })}\n`);
  process.exit();
}

let received = 0;
let overruns = 0;
let last = 0;
createInterface({ input: process.stdin })
  .on('line', () => process.stdout.write(`${JSON.stringify({ received, overruns, last })}\n`))
  .on('close', () => process.exit());
const events = rtnl.monitor({ groups: ['neigh'], maxQueue: 2 ** 20 });
process.stdout.write('ready\n');
for await (const batch of events.batches()) {
  last = performance.timeOrigin + performance.now();
  for (const event of batch) {
    if (event.kind === 'neighbor' && event.action === 'new') received++;
    else if (event.kind === 'overrun') overruns++;
  }
}
