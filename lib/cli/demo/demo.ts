/** The verb `overns demo`: it shows overns at work on this machine, and leaves the machine as it was. */
import { constants } from 'node:os';
import { throwIfAborted } from '../../core/abort.js';
import { DONE, REFUSED } from '../failure.js';
import type { Context } from '../verb.js';
import { type Pings, pairs, pingCold } from './pings.js';
import { insideUserNamespace, privileged, runRootless } from './rootless.js';
import { Scene } from './scene.js';
import { Story } from './story.js';
import type { DemoOptions, Resolution } from './subjects.js';

/** Output of --json. */
interface Report {
  /** True if nothing was lost, and nothing is left behind. */
  readonly ok: boolean;
  readonly hosts: number;
  readonly mode: 'root' | 'rootless';
  /** Where the endpoints were published. */
  readonly store: string;
  readonly pings: readonly {
    readonly from: string;
    readonly to: string;
    readonly sent: number;
    readonly lost: number;
    /** From the first request to the first reply, milliseconds; null = there was none. */
    readonly firstMs: number | null;
  }[];
  /** How often the kernel asked for one of the containers. */
  readonly misses: number;
  readonly answers: readonly Resolution[];
}

/** Resolves to the exit status: 0 if no ping was lost, 1 if one was, 128 and its number for a signal. */
export async function demo(options: DemoOptions, context: Context): Promise<number> {
  const { signal, signalled } = context;
  try {
    throwIfAborted(signal);
    const inside = insideUserNamespace();
    if (!inside && !(await privileged(context.system)))
      return await runRootless(signal, () => signalled() ?? 'SIGTERM');
    return await perform(options, inside ? 'rootless' : 'root', context);
  } catch (error) {
    const name = signalled();
    if (name === undefined || (error as Error).name !== 'AbortError') throw error;
    return 128 + constants.signals[name];
  }
}

async function perform(
  options: DemoOptions,
  mode: Report['mode'],
  { signal, system, signalled, out, log, json }: Context,
): Promise<number> {
  const story = json
    ? new Story((line) => log.info(line))
    : new Story((line) => void out.lines([line]), { colours: process.stdout.isTTY === true });
  const scene = new Scene(options, story, { signal, system });
  let left: readonly string[] = [];
  let pings: Pings;
  try {
    story.opening(options.hosts, mode);
    await scene.build();
    pings = await pingCold(scene, pairs(scene.containers), story, signal);
  } finally {
    if (signalled() !== undefined) log.info('interrupted: removing what was made');
    left = await scene.remove();
    for (const each of left) log.warn(`could not be removed: ${each}`);
  }
  const { results, answers, misses } = pings;
  const ok = results.every(({ lost }) => lost === 0) && left.length === 0;
  story.ending(results, answers, left.length === 0);
  if (json) {
    const report: Report = {
      ok,
      hosts: options.hosts,
      mode,
      store: scene.storeUrl,
      pings: results.map(({ from, to, sent, lost, firstMs }) => ({ from: from.ip, to: to.ip, sent, lost, firstMs })),
      misses,
      answers,
    };
    await out.json(report);
  }
  return ok ? DONE : REFUSED;
}
