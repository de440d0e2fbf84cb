import { defineConfig } from 'vitest/config';

export default defineConfig({
  // Node 20 does not know `using` yet.
  oxc: { target: 'es2022' },
  test: {
    include: ['test/**/*.test.ts'],
    // Forks: a crash of the addon in a thread would take the whole run with it.
    pool: 'forks',
    // Kernel timing is part of what is tested: more workers than CPUs would test the scheduler.
    maxWorkers: 2,
    testTimeout: 120_000,
    hookTimeout: 60_000,
    teardownTimeout: 20_000,
    globalSetup: ['test/support/global.ts'],
    sequence: { hooks: 'stack' },
    coverage: { provider: 'v8', include: ['lib/**/*.ts'], reporter: ['text-summary', 'html'] },
  },
});
