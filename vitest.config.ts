import { defineConfig } from 'vitest/config';
import { BaseSequencer, type TestSpecification } from 'vitest/node';

const { OVERNS_TEST_SANITIZED: sanitized, OVERNS_SOAK: soak } = process.env;

/** These compare times: nothing else runs beside them. */
const TIMED = ['blocked', 'cold', 'speed'].map((name) => `test/kernel/${name}.test.ts`);

/** `npm run soak`. */
const SOAK = 'test/soak/soak.test.ts';

/** The longest, most of it waiting: begun last, one of them alone would hold up the end. */
const LONG = [
  'demo',
  'rtnl/mirror',
  'kernel/fake-kernel',
  'seed/story',
  'cli/agent',
  'store/etcd-failures',
  'teardown/teardown',
];

class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const rank = ({ moduleId }: TestSpecification): number => {
      const at = LONG.findIndex((name) => moduleId.endsWith(`/test/${name}.test.ts`));
      return at === -1 ? LONG.length : at;
    };
    return (await super.sort(files)).sort((a, b) => rank(a) - rank(b));
  }
}

export default defineConfig({
  // Node 20 does not know `using` yet.
  oxc: { target: 'es2022' },
  test: {
    // Forks: a crash of the addon in a thread would take the whole run with it.
    pool: 'forks',
    testTimeout: sanitized ? 480_000 : 120_000,
    hookTimeout: sanitized ? 240_000 : 60_000,
    teardownTimeout: 20_000,
    globalSetup: ['test/support/global.ts'],
    sequence: { hooks: 'stack', sequencer: LongestFirst },
    coverage: { provider: 'v8', include: ['lib/**/*.ts'], reporter: ['text-summary', 'html'] },
    projects: [
      {
        extends: true,
        test: {
          name: 'all',
          include: ['test/**/*.test.ts'],
          exclude: [...TIMED, SOAK],
          // Two for each CPU, of two: they wait about half of their time, for the kernel and for processes to start.
          maxWorkers: 4,
          sequence: { groupOrder: 0 },
        },
      },
      ...(soak === undefined ? [] : [{ extends: true as const, test: { name: 'soak', include: [SOAK] } }]),
      { extends: true, test: { name: 'timed', include: TIMED, maxWorkers: 1, sequence: { groupOrder: 1 } } },
    ],
  },
});
