/** Requirements of a test on the machine: without it the test is skipped, with the reason and the remedy in print; in CI it fails. */
import { describe, type TestFunction, test } from 'vitest';

/** `root`: may make network namespaces; the rest are tools. */
export type Requirement =
  | 'root'
  | 'ip'
  | 'ping'
  | 'tcpdump'
  | 'busybox'
  | 'consul'
  | 'etcd'
  | 'docker'
  | 'podman'
  | 'cmake'
  | 'doctest';

interface Tool {
  readonly ok: boolean;
  readonly reason?: string;
  readonly remedy?: string;
}

// Set by `npm test`, or by the global set-up when vitest was started by hand.
const tools: Partial<Record<Requirement, Tool>> = JSON.parse(process.env.OVERNS_TEST_TOOLS ?? '{}');

/** Why the requirements are not met, or undefined. */
export function lacking(requirements: readonly Requirement[]): string | undefined {
  const missing = requirements.map((name) => [name, tools[name]] as const).filter(([, tool]) => !tool?.ok);
  if (missing.length === 0) return undefined;
  return missing
    .map(([name, tool]) => `${name}: ${tool?.reason ?? 'unknown'}; run \`${tool?.remedy ?? 'npm test'}\``)
    .join(', ');
}

function told(requirements: readonly Requirement[], name: string): string | undefined {
  const why = lacking(requirements);
  if (why === undefined) return undefined;
  if (process.env.CI === 'true') throw new Error(`${name}: in CI nothing is skipped, but it lacks ${why}`);
  console.error(`skipped: ${name}: lacks ${why}`);
  return why;
}

/** describe() that is skipped, with the reason in print, where a requirement is not met. */
export function describeWith(requirements: readonly Requirement[], name: string, fn: () => void): void {
  const why = told(requirements, name);
  if (why === undefined) describe(name, fn);
  else describe.skip(`${name} [lacks ${why}]`, fn);
}

/** test() that is skipped, with the reason in print, where a requirement is not met. */
export function testWith(requirements: readonly Requirement[], name: string, fn: TestFunction, timeout?: number): void {
  const why = told(requirements, name);
  if (why === undefined) test(name, fn, timeout);
  else test.skip(`${name} [lacks ${why}]`, fn);
}
