/** Every export has an example; the examples are TypeScript, and do what they say on the fake kernel. */
import { join } from 'node:path';
import { beforeAll, expect, test } from 'vitest';
import { examples, program, ROOT, typeErrors, withoutExample, writePrograms } from '../support/examples.js';
import { exec } from '../support/process.js';

const all = examples();
const support = join(ROOT, 'test/support');

beforeAll(() => writePrograms(all));

test('every export has one, and every method of a class', () => {
  expect(withoutExample()).toEqual([]);
  expect(all.length).toBeGreaterThan(100);
});

test('they are TypeScript', () => {
  expect(typeErrors(all)).toEqual([]);
});

test('on the fake kernel', async () => {
  const some = all.filter(({ on }) => on !== 'real');
  const files = some.map((example) => (example.on === 'fake' ? 'own:' : '') + program(example));
  const { stdout } = await exec(process.execPath, ['--no-warnings', join(support, 'fake-examples.mjs'), ...files]);
  const results = stdout
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line));
  expect(results).toEqual(some.map((example) => ({ file: program(example), printed: example.prints, error: '' })));
});
