// @ts-check
/** A real Consul in a host's namespace: the store that the seed's daemon asks. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { onCleanup } from './cleanup.mjs';
import { exec, Running } from './process.mjs';
import { pathOf } from './world.mjs';

// Runs inside the namespace: [method, path, body] each, one after the other.
const CLIENT = `
const chunks = [];
for await (const chunk of process.stdin) chunks.push(chunk);
const { request } = await import('node:http');
const agent = new (await import('node:http')).Agent({ keepAlive: true });
for (const [method, path, body] of JSON.parse(Buffer.concat(chunks))) {
  const answer = await new Promise((resolve, reject) => {
    const sent = request({ host: process.argv[1], port: 8500, method, path, agent }, (response) => {
      let text = '';
      response.on('data', (part) => { text += part; }).on('end', () => resolve(response.statusCode + ' ' + text));
    });
    sent.on('error', reject).end(body);
  });
  if (!answer.startsWith('200 ')) { console.error(path, answer); process.exit(1); }
  console.log(answer.slice(4));
}
process.exit();`;

/**
 * @param {import('./world.mjs').Host} host
 * @param {{ ip: string, mac: string, vtep: string }[]} endpoints
 */
export async function startConsul(host, endpoints) {
  const folder = mkdtempSync(join(tmpdir(), 'overns-bench-consul-'));
  onCleanup(() => rmSync(folder, { recursive: true, force: true }));
  const config = {
    bind_addr: host.vtep,
    addresses: { http: host.vtep },
    ports: { http: 8500, dns: -1, grpc: -1 },
    disable_update_check: true,
    log_level: 'ERR',
  };
  writeFileSync(join(folder, 'config.json'), JSON.stringify(config));
  const netns = pathOf(host.name);
  const daemon = new Running(['consul', 'agent', '-dev', `-config-file=${join(folder, 'config.json')}`], {
    netns,
    cwd: folder,
    env: { ...process.env, HOME: folder },
  });
  const ask = async (/** @type {[string, string, string?][]} */ requests) => {
    const command = [process.execPath, '--input-type=module', '-e', CLIENT, host.vtep];
    return (await exec(command, { netns, input: JSON.stringify(requests) })).stdout;
  };
  for (const until = Date.now() + 20_000; ; ) {
    if (!daemon.running) throw new Error(`consul ended: ${daemon.stdout}${daemon.stderr}`);
    const ready = await ask([['PUT', '/v1/kv/ready', '1']]).catch(() => undefined);
    if (ready?.trim() === 'true') break;
    if (Date.now() > until) throw new Error(`consul takes no writes after 20 s: ${daemon.stdout}`);
    await sleep(100);
  }
  const verbs = endpoints.flatMap(({ ip, mac, vtep }) => [
    { KV: { Verb: 'set', Key: `demo/arp/${ip}`, Value: Buffer.from(mac).toString('base64') } },
    { KV: { Verb: 'set', Key: `demo/fib/${mac}`, Value: Buffer.from(vtep).toString('base64') } },
  ]);
  /** @type {[string, string, string][]} */
  const transactions = [];
  while (verbs.length > 0) transactions.push(['PUT', '/v1/txn', JSON.stringify(verbs.splice(0, 64))]);
  await ask(transactions);
  return {
    host: host.vtep,
    netns,
    /** While others are measured it does nothing at all. */
    pause: () => void daemon.child.kill('SIGSTOP'),
    resume: async () => {
      daemon.child.kill('SIGCONT');
      await ask([['GET', '/v1/kv/ready?raw']]);
    },
  };
}
