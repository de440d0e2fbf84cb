/** What an agent logs: bounded, whatever happens and of however many overlays. */
import { PassThrough } from 'node:stream';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { AgentLog } from '../../lib/cli/agent-log.js';
import { Log } from '../../lib/cli/output.js';
import { OvernsError } from '../../lib/core/errors.js';
import type { ResolverEvent } from '../../lib/index.js';

const down = (overlay: string, message = 'refused'): ResolverEvent => ({
  ...at(overlay),
  kind: 'store-down',
  error: new Error(message),
});
const at = (overlay: string) => ({ overlay, vni: 42, atNs: 0n });
const up = (overlay: string): ResolverEvent => ({ ...at(overlay), kind: 'store-up' });
const unresolved = (overlay: string, n: number, more: object): ResolverEvent =>
  ({
    ...at(overlay),
    kind: 'unresolved',
    miss: { ...at(overlay), link: 'vxlan1', kind: 'l3', ip: `10.0.${n >> 8}.${n & 255}` },
    ...more,
  }) as ResolverEvent;

describe('an agent’s log', () => {
  let lines: string[];
  let log: AgentLog;

  beforeEach(() => {
    vi.useFakeTimers();
    lines = [];
    const stream = new PassThrough();
    vi.spyOn(stream, 'write').mockImplementation((text) => {
      lines.push(String(text).trimEnd());
      return true;
    });
    log = new AgentLog(new Log(stream, 'info'), 'Consul', true);
  });
  afterEach(() => {
    log[Symbol.dispose]();
    vi.useRealTimers();
  });

  test('an outage of 200 overlays: one line when it begins, one a minute, one when it ends', () => {
    for (let n = 0; n < 200; n++) log.tell(down(`o${n}`));
    vi.advanceTimersByTime(1000);
    expect(lines).toEqual(['warning: Consul cannot be reached (200 overlays): refused; serving what is known']);
    // Each miss and each retry meanwhile is one of it.
    for (let n = 0; n < 500; n++) {
      log.tell(unresolved(`o${n % 200}`, n, { cause: 'store-error', error: new Error('refused') }));
      log.tell(unresolved(`o${n % 200}`, n, { cause: 'timeout' }));
      log.tell(down(`o${n % 200}`, 'no route'));
    }
    expect(lines).toHaveLength(1);
    vi.advanceTimersByTime(120_000);
    expect(lines.slice(1)).toEqual([
      expect.stringMatching(
        /^warning: Consul could not be reached for \d+ s \(200 overlays, 1000 misses .*\): no route$/,
      ),
      expect.stringContaining('could not be reached for'),
    ]);
    for (let n = 0; n < 199; n++) log.tell(up(`o${n}`));
    expect(lines).toHaveLength(3);
    // One that is not served any more does not keep it going.
    log.tell({ overlay: 'o199', kind: 'gone' });
    expect(lines.slice(3)).toEqual([
      expect.stringMatching(/^Consul can be used again after \d+ s \(200 overlays, 1000 misses without an answer\)$/),
      'warning: overlay o199 is gone, and not served any more',
    ]);
    vi.advanceTimersByTime(300_000);
    expect(lines).toHaveLength(5);
    log.tell(down('o1'));
    vi.advanceTimersByTime(1000);
    expect(lines.at(-1)).toContain('cannot be reached (1 overlay)');
    vi.advanceTimersByTime(1);
    log.tell(up('o1'));
    // One that answers with a refusal has been reached.
    log.tell(down('o1', 'reading demo/: answered 403: ACL not found'));
    vi.advanceTimersByTime(1000);
    expect(lines.at(-1)).toContain('cannot be used (1 overlay): reading demo/: answered 403');
  });

  test('an outage that ends at once is told with its end', () => {
    log.tell(down('blue'));
    log.tell(up('blue'));
    expect(lines).toHaveLength(2);
  });

  test.each([
    ['a scan', { cause: 'absent' }, 200],
    ['a host whose containers are gone', { cause: 'not-here' }, 20],
    ['a store that is silent', { cause: 'timeout' }, 2],
    ['a store that fails without being down', { cause: 'store-error', error: new Error('x') }, 2],
    ['bad records', { cause: 'store-error', error: new OvernsError('OVERNS_RECORD', 'x') }, 20],
  ])('%s is bounded, and counted', (_, more, most) => {
    for (let n = 0; n < 20_000; n++) log.tell(unresolved('blue', n, more));
    expect(lines.length).toBe(most);
    vi.advanceTimersByTime(60_000);
    expect(lines.length).toBe(most + 1);
    expect(lines.at(-1)).toContain(`${20_000 - most / 2} more`);
    // The next minute has lines of its own.
    log.tell(unresolved('blue', 1, more));
    expect(lines.length).toBe(most + 3);
  });

  test('an address that a record has here, and nobody has, is said once a minute', () => {
    for (let n = 0; n < 50; n++) log.tell(unresolved('blue', 5, { cause: 'not-here' }));
    log.tell(unresolved('blue', 6, { cause: 'not-here' }));
    expect(lines).toHaveLength(4);
    expect(lines[1]).toBe(
      'warning: blue: Consul says that IP 10.0.0.5 is on this host, where nobody has it: attach its container, or delete its record',
    );
    vi.advanceTimersByTime(60_000);
    expect(lines.at(-1)).toContain('49 more misses were of addresses that Consul has on this host');
  });

  test('answers, refusals, overruns, overlays that change: each kind is bounded by itself', () => {
    const miss = { ...at('blue'), link: 'vxlan1', kind: 'l3', ip: '10.0.0.1' } as const;
    for (let n = 0; n < 5000; n++) {
      const endpoint = { mac: '02:42:c0:a8:00:03', vtep: '10.0.0.11' };
      log.tell({ ...at('blue'), kind: 'resolved', miss, endpoint, by: 'table', tookUs: 1 });
      log.tell({ ...at('blue'), kind: 'rejected', miss, reason: 'multicast' });
      log.tell({ ...at('blue'), kind: 'overrun', dropped: 3 });
      log.tell({ ...at('blue'), kind: 'overflow', dropped: 3 });
      log.tell({ ...at(`o${n}`), kind: 'overlay-lost', cause: 'removed' });
    }
    expect(lines.length).toBeLessThan(1600);
    log[Symbol.dispose]();
    expect(lines.slice(-5).every((line) => / more .* within the last minute, which are not shown$/.test(line))).toBe(
      true,
    );
  });
});
