/** iputils' ping inside a namespace, read back as numbers. */
import type { Netns } from './netns.js';
import { exec } from './process.js';

export interface PingOptions {
  /** Echo requests to send. Default 1. */
  readonly count?: number;
  /** Seconds between them. Default 1, as `ping` has it; less than 0.2 needs root. */
  readonly interval?: number;
  /** Seconds to wait for the last reply. Default 5, in which no container of a Site asks twice. */
  readonly wait?: number;
  /** Payload bytes (the IPv4 datagram is 28 more, the IPv6 one 48 more). Default 56. */
  readonly size?: number;
  /** Sets don't-fragment, and refuses to fragment locally. */
  readonly dontFragment?: boolean;
}

export interface PingReply {
  /** ICMP sequence number, from 1. */
  readonly seq: number;
  readonly rttMs: number;
}

export interface PingResult {
  readonly sent: number;
  readonly received: number;
  /** sent - received. */
  readonly lost: number;
  /** In the order they came. */
  readonly replies: readonly PingReply[];
  /** Duplicates that came besides the replies. */
  readonly duplicates: number;
  /** The first reply's time from the sending of its own request; undefined without a reply. */
  readonly firstMs: number | undefined;
  /** Lines such as `ping: local error: message too long, mtu=1450` and ICMP errors. */
  readonly errors: readonly string[];
  readonly stdout: string;
}

/** Runs `ping` in a namespace (a {@link Netns} or a pid). Never rejects for lost packets; rejects when ping cannot run. */
export async function ping(where: Netns | number, target: string, options: PingOptions = {}): Promise<PingResult> {
  const { count = 1, interval = 1, wait = 5, size = 56, dontFragment = false } = options;
  const args = ['-n', '-c', `${count}`, '-i', `${interval}`, '-W', `${wait}`, '-s', `${size}`];
  if (dontFragment) args.push('-M', 'do');
  const path = typeof where === 'number' ? `/proc/${where}/ns/net` : where.path;
  const { stdout, stderr, code } = await exec('nsenter', [`--net=${path}`, '--', 'ping', ...args, target], {
    check: false,
    timeout: (count * interval + wait) * 1000 + 60_000,
    env: { ...process.env, LC_ALL: 'C' },
  });
  const summary = /(\d+) packets transmitted, (\d+) received/.exec(stdout);
  if (!summary) throw new Error(`ping ${target}: exit status ${code}: ${stderr.trim() || stdout.trim()}`);
  const replies: PingReply[] = [];
  let duplicates = 0;
  const errors: string[] = stderr.split('\n').filter((line) => line.startsWith('ping: '));
  for (const line of stdout.split('\n')) {
    const reply = /icmp_seq=(\d+) .*time=([\d.]+) ms( \(DUP!\))?/.exec(line);
    if (reply?.[3]) duplicates++;
    else if (reply) replies.push({ seq: Number(reply[1]), rttMs: Number(reply[2]) });
    else if (/^(From|ping:) /.test(line)) errors.push(line);
  }
  const sent = Number(summary[1]);
  const received = Number(summary[2]);
  return { sent, received, lost: sent - received, replies, duplicates, firstMs: replies[0]?.rttMs, errors, stdout };
}

/** Forgets what a container's kernel learned of its neighbours, so that its next packet begins with an ARP or ND request. */
export async function forgetNeighbors(...containers: readonly (Netns | number)[]): Promise<void> {
  await Promise.all(
    containers.map((where) => {
      const path = typeof where === 'number' ? `/proc/${where}/ns/net` : where.path;
      return exec('nsenter', [`--net=${path}`, '--', 'ip', 'neigh', 'flush', 'all'], { check: false });
    }),
  );
}

/** Forgets what an overlay was told or learned: vxlan1's neighbours and its FDB, but for the row that punts unknown MACs. */
export async function forgetOverlay(overlay: Netns, link = 'vxlan1'): Promise<void> {
  await exec('ip', ['-n', overlay.name, 'neigh', 'flush', 'dev', link, 'nud', 'all'], { check: false });
  const rows = (await overlay.bridgeJson('fdb', 'show', 'dev', link)) as {
    mac: string;
    dst?: string;
    master?: string;
  }[];
  for (const row of rows) {
    if (row.mac === '00:00:00:00:00:00') continue;
    if (row.dst !== undefined)
      await exec('bridge', ['-n', overlay.name, 'fdb', 'del', row.mac, 'dev', link, 'self'], { check: false });
    else if (row.master !== undefined)
      await exec('bridge', ['-n', overlay.name, 'fdb', 'del', row.mac, 'dev', link, 'master'], { check: false });
  }
}

/** One ping with every table on its way cold. */
export async function coldPing(
  from: Netns | number,
  target: string,
  cold: { readonly containers: readonly (Netns | number)[]; readonly overlays: readonly Netns[] },
  options: PingOptions = {},
): Promise<PingResult> {
  await Promise.all([...cold.overlays.map((overlay) => forgetOverlay(overlay)), forgetNeighbors(...cold.containers)]);
  return ping(from, target, options);
}
