/** Observing what the kernel asks in an overlay. */
import { channel } from 'node:diagnostics_channel';
import { canonicalMac } from '../core/address.js';
import type { BoundedQueue, Opened } from '../core/bounded-queue.js';
import { openMonitor } from '../rtnl/monitor/events.js';
import type { Rtnl } from '../rtnl/rtnl.js';
import { followControl } from './control.js';
import { VXLAN } from './devices.js';
import type { Miss } from './miss.js';

/** Reports what stands in the way of an observer without ending it: `{ overlay, error }`. */
const warnings = channel('overns:overlay:warning');

/** How often an observer of misses looks for a resolver. */
const RESOLVER_RETRY_MS = 500;

/** The overlay that is observed. */
interface Observed {
  readonly name: string;
  readonly vni: number;
  readonly netns: string;
}

/** Tells of misses, those of the kernel and those that a resolver catches before the kernel would notify of them. */
export function observeMisses(overlay: Observed, rtnl: Rtnl, queue: BoundedQueue<Miss>): Opened {
  const where = { overlay: overlay.name, vni: overlay.vni };
  /** Tells the misses of another vxlan device of the namespace: its own VNI is asked for first. */
  const tellOfOther = async (link: string, misses: readonly Miss[]): Promise<void> => {
    const found = (await rtnl.links.list({ name: link }).catch(() => []))?.find(({ name }) => name === link);
    if (typeof found?.vni === 'number') queue.pushAll(misses.map((miss) => ({ ...miss, vni: found.vni as number })));
  };
  const monitor = openMonitor(rtnl.system, { path: overlay.netns, groups: ['miss'], netns: overlay.name }, (events) => {
    const misses: Miss[] = [];
    const others = new Map<string, Miss[]>();
    for (const event of events) {
      if (event.kind !== 'miss' || event.vxlan !== true) continue;
      const link = String(event.link);
      const about = { ...where, link, atNs: event.atNs as bigint };
      const miss: Miss =
        event.query === 'l3'
          ? { ...about, kind: 'l3', ip: String(event.ip) }
          : { ...about, kind: 'l2', mac: String(event.mac) };
      if (link === VXLAN) misses.push(miss);
      else others.set(link, [...(others.get(link) ?? []), miss]);
    }
    queue.pushAll(misses);
    for (const [link, theirs] of others) void tellOfOther(link, theirs);
  });
  let retry: NodeJS.Timeout | undefined;
  let stop = (): void => {};
  const follow = (): void => {
    stop = followControl(
      rtnl.system,
      overlay.netns,
      { op: 'misses' },
      {
        line: (line) => {
          const miss = readMiss(line);
          if (miss) queue.push({ ...where, link: VXLAN, kind: 'l2', ...miss });
          return miss !== undefined;
        },
        end: (error) => {
          if (error && warnings.hasSubscribers) warnings.publish({ overlay: overlay.name, error });
          // A resolver may start later.
          retry = setTimeout(follow, RESOLVER_RETRY_MS);
          retry.unref();
        },
      },
    );
  };
  follow();
  return {
    close: () => {
      monitor.close();
      clearTimeout(retry);
      stop();
    },
    ref: () => monitor.ref(),
    unref: () => monitor.unref(),
  };
}

/** Reads a miss as a resolver tells it; undefined for what is none. */
function readMiss({ mac, atNs }: Readonly<Record<string, unknown>>): { mac: string; atNs: bigint } | undefined {
  if (typeof mac !== 'string' || typeof atNs !== 'string' || !/^\d{1,20}$/.test(atNs)) return undefined;
  try {
    return { mac: canonicalMac(mac), atNs: BigInt(atNs) };
  } catch {
    return undefined;
  }
}
