/** The machine's neighbour tables that are full are told of, by the counts that the kernel keeps. */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { NeighborLimit, type NeighborsFullEvent } from '../../lib/agent/neighbor-limit.js';
import { onCleanup } from '../support/cleanup.js';
import { until } from '../support/overlay.js';

/** As Linux 6.18 shows it, and as older ones do, which lack the columns in the middle. */
const table = (...fulls: readonly number[]): string =>
  [
    'entries  allocs   destroys forced_gc_runs unresolved_discards table_fulls',
    ...fulls.map(
      (count) => `00000002 014614a8 0156caca 00047366       00000000            ${count.toString(16).padStart(8, '0')}`,
    ),
    '',
  ].join('\n');

test('what has been refused since the start is told, once, with what raises the limit', async () => {
  const proc = await mkdtemp(join(tmpdir(), 'ot-proc-'));
  onCleanup(() => rm(proc, { recursive: true }));
  await mkdir(join(proc, 'net/stat'), { recursive: true });
  await mkdir(join(proc, 'sys/net/ipv4/neigh/default'), { recursive: true });
  await writeFile(join(proc, 'sys/net/ipv4/neigh/default/gc_thresh3'), '1024\n');
  const counted = (...fulls: readonly number[]) => writeFile(join(proc, 'net/stat/arp_cache'), table(...fulls));
  await counted(0x443, 0x3a3);
  const told: NeighborsFullEvent[] = [];
  const limit = new NeighborLimit((event) => told.push(event), proc, 20);
  onCleanup(() => limit[Symbol.dispose]());
  // What was before is nobody's news.
  await limit.begun;
  await counted(0x443, 0x3a3 + 17);
  await until(() => told.length > 0);
  await counted(0x443, 0x3a3 + 20);
  await until(() => told.length > 1);
  expect(told.map(({ family, refused }) => [family, refused])).toEqual([
    ['ipv4', 17],
    ['ipv4', 3],
  ]);
  expect(told[0]?.error).toMatchObject({
    code: 'ENOBUFS',
    message: "the machine's table of IPv4 neighbours is full, 1024 entries",
    hint: 'sysctl -w net.ipv4.neigh.default.gc_thresh3=16384',
  });
});
