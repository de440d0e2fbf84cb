#!/usr/bin/env node
/**
 * npm run soak -- [--minutes N] [--seed S] [--hosts N] [--containers N]: hours of an overlay network's life in minutes, on real
 * stores (test/soak). Containers are for each host. Prints its seed; the same one makes the same steps. In CI half a minute, always
 * with the same seed; with CI_FULL=1 half an hour, with another each time.
 */
import { join } from 'node:path';
import { build } from './build.mjs';
import { readFlags } from './lib/flags.mjs';
import { install } from './lib/install.mjs';
import { gypEnv, root, run, Stop, script } from './lib/process.mjs';
import { provide, toolEnv } from './lib/tools.mjs';

const USAGE = `npm run soak [-- --minutes N] [-- --seed S] [-- --hosts N] [-- --containers N]

  --minutes N     default 1; in CI half a minute, with CI_FULL=1 half an hour
  --seed S        the same one makes the same steps; default at random, in CI 1
  --hosts N       default 4
  --containers N  for each host, default 10
`;

await script(async () => {
  const ci = process.env.CI === 'true';
  const full = process.env.CI_FULL === '1';
  const number = (name, text, max) => {
    const value = Number(text);
    if (!(value > 0 && value <= max)) throw new Stop(`soak: --${name}: "${text}" is not a number up to ${max}`);
    return value;
  };
  const { values } = readFlags('soak', USAGE, {
    minutes: { type: 'string', default: full ? '30' : ci ? '0.5' : '1' },
    seed: { type: 'string', default: ci && !full ? '1' : String(1 + Math.floor(Math.random() * 1e6)) },
    hosts: { type: 'string', default: '4' },
    containers: { type: 'string', default: '10' },
  });
  const soak = {
    minutes: number('minutes', values.minutes, 10_000),
    seed: number('seed', values.seed, 2 ** 32),
    hosts: number('hosts', values.hosts, 50),
    containers: number('containers', values.containers, 60),
  };
  await install();
  await build();
  const tools = await provide();
  const env = {
    ...toolEnv(gypEnv()),
    OVERNS_TEST_TOOLS: JSON.stringify(tools),
    OVERNS_SOAK: JSON.stringify(soak),
    // A ping that waits keeps one of them.
    UV_THREADPOOL_SIZE: '64',
  };
  process.stderr.write(`soak: seed ${soak.seed}\n`);
  const vitest = join(root, 'node_modules/vitest/vitest.mjs');
  return run(process.execPath, [vitest, 'run', '--project', 'soak'], { env, stdio: ['ignore', 1, 2] });
});
