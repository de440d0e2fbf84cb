/**
 * Around the whole run: names the run, so that its namespaces can be told from another's, and fails it when one of
 * them is left at the end.
 */
import { execFileSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { detect, toolEnv } from '../../scripts/lib/tools.mjs';

const PREFIX = 'ot';

function namespaces(): string[] {
  try {
    return readdirSync('/run/netns');
  } catch {
    return [];
  }
}

function alive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

function remove(name: string): void {
  try {
    const pids = execFileSync('ip', ['netns', 'pids', name], { encoding: 'utf8' });
    for (const pid of pids.split('\n').filter(Boolean)) process.kill(Number(pid), 'SIGKILL');
  } catch {
    // ended meanwhile
  }
  try {
    execFileSync('ip', ['netns', 'del', name], { stdio: 'ignore' });
  } catch {
    // told by the caller
  }
}

export default function setup(): () => void {
  process.env.OVERNS_TEST_RUN = String(process.pid);
  // vitest started by hand: what `npm test` fetched earlier counts, but nothing is fetched now.
  Object.assign(process.env, toolEnv());
  process.env.OVERNS_TEST_TOOLS ??= JSON.stringify(detect());
  // Removes what a killed run could not remove itself.
  for (const name of namespaces()) {
    const run = new RegExp(`^${PREFIX}(\\d+)-`).exec(name);
    if (!run || alive(Number(run[1]))) continue;
    console.error(`test: removing namespace ${name}, left by an earlier run that was killed`);
    remove(name);
  }
  const before = new Set(namespaces());
  return () => {
    const left = namespaces().filter((name) => !before.has(name) && name.startsWith(`${PREFIX}${process.pid}-`));
    for (const name of left) remove(name);
    if (left.length > 0) {
      // vitest only logs what a teardown throws.
      process.exitCode = 1;
      throw new Error(`namespaces left behind by the tests: ${left.join(', ')}`);
    }
  };
}
