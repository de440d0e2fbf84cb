/** npm's `netlink` as a listener, in its own namespace: see peers/overns/monitor.mjs. */
const { writeSync } = require('node:fs');
const { createInterface } = require('node:readline');
const { createRtNetlink } = require('netlink');

const AF_INET = 2;
const socket = createRtNetlink({ ref: true });

async function dump() {
  const start = performance.now();
  const rows = await socket.getNeighbors({ family: AF_INET });
  process.stdout.write(`${JSON.stringify({ rows: rows.length, seconds: (performance.now() - start) / 1000 })}\n`);
  process.exit();
}

if (process.argv[2] === '--dump') void dump();
else {
  let received = 0;
  let overruns = 0;
  let last = 0;
  // Nobody hands this one on; unheard, an overrun (ENOBUFS) ends the process. Several at once end it all the same, in
  // its addon, so it tells how far it has come on stderr.
  socket.socket.on('error', () => overruns++);
  let told = 0;
  socket.on('message', (message) => {
    last = performance.timeOrigin + performance.now();
    for (const part of message) if (part.kind === 'neighbor') received++;
    if (received < told + 500) return;
    told = received;
    writeSync(2, `${JSON.stringify({ received, overruns, last })}\n`);
  });
  socket.addMembership('NEIGH');
  createInterface({ input: process.stdin })
    .on('line', () => process.stdout.write(`${JSON.stringify({ received, overruns, last })}\n`))
    .on('close', () => process.exit());
  process.stdout.write('ready\n');
}
