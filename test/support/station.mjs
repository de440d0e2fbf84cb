/**
 * The inhabitant of a container: echoes UDP on port 7, and sends one datagram when told to, saying when its echo came
 * and how many packets the interface sent meanwhile. Commands and answers are JSON lines.
 */
import { createSocket } from 'node:dgram';
import { readFileSync, writeFileSync } from 'node:fs';
import { createInterface } from 'node:readline';

const PORT = 7;
const waiting = new Map();
let last = 0;

/** Packets that an interface sent so far (proc(5), net/dev). */
function sent(link) {
  const line = readFileSync('/proc/self/net/dev', 'utf8')
    .split('\n')
    .find((each) => each.trim().startsWith(`${link}:`));
  return line === undefined ? 0 : Number(line.split(':')[1].trim().split(/\s+/)[9]);
}

function open(type) {
  const echo = createSocket({ type, reuseAddr: true, ipv6Only: type === 'udp6' });
  echo.on('message', (data, from) => echo.send(data, from.port, from.address, () => {}));
  echo.on('error', () => {});
  echo.bind(PORT);
  const asker = createSocket({ type, ipv6Only: type === 'udp6' });
  asker.on('message', (data) => waiting.get(data.readUInt32BE(0))?.(process.hrtime.bigint()));
  asker.on('error', () => {});
  const bound = new Promise((resolve) => asker.bind(0, resolve));
  return { asker, bound };
}

const sockets = { 4: open('udp4'), 6: open('udp6') };

async function ask({ to = undefined, waitMs = 9000, size = 64, link = 'eth0', asksAgainMs = undefined }) {
  if (to === undefined) return { packets: sent(link) };
  if (asksAgainMs !== undefined) writeFileSync(`/proc/sys/net/ipv4/neigh/${link}/retrans_time_ms`, `${asksAgainMs}`);
  const { asker } = sockets[to.includes(':') ? 6 : 4];
  const id = ++last;
  const data = Buffer.alloc(size);
  data.writeUInt32BE(id, 0);
  const before = sent(link);
  const started = process.hrtime.bigint();
  let timer;
  const came = await new Promise((resolve) => {
    waiting.set(id, resolve);
    timer = setTimeout(resolve, waitMs, undefined);
    asker.send(data, PORT, to, (error) => error && resolve(undefined));
  });
  clearTimeout(timer);
  waiting.delete(id);
  return {
    startedNs: String(started),
    ms: came === undefined ? undefined : Number(came - started) / 1e6,
    packets: sent(link) - before,
  };
}

await Promise.all([sockets[4].bound, sockets[6].bound]);
createInterface({ input: process.stdin })
  .on('line', async (line) => {
    const command = JSON.parse(line);
    process.stdout.write(`${JSON.stringify({ id: command.id, ...(await ask(command)) })}\n`);
  })
  .on('close', () => process.exit(0));
process.stdout.write('{"ready":true}\n');
