/** CONTRIBUTING names scripts, files and fuzzers that there are. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const read = (file: string): string => readFileSync(`${ROOT}/${file}`, 'utf8');
const text = read('CONTRIBUTING.md');
const found = (pattern: RegExp): string[] => [...text.matchAll(pattern)].map((match) => match[1] as string);

test('each npm script', () => {
  const { scripts } = JSON.parse(read('package.json')) as { scripts: Record<string, string> };
  const named = found(/\bnpm run ([\w:-]+)/g);
  expect(named.length).toBeGreaterThan(5);
  expect(named.filter((name) => !(name in scripts))).toEqual([]);
});

test('each file and folder', () => {
  // Names in capitals stand for any, and `*` for several.
  const named = found(/(?<![\w./-])((?:\.ci|native|lib|test|scripts|docs)\/[\w./*-]+)/g).map((path) =>
    path.replace(/\.$/, ''),
  );
  expect(named.length).toBeGreaterThan(20);
  const there = (path: string): boolean => existsSync(`${ROOT}/${path.replace(/\/[^/]*(\*|[A-Z]{4}).*$/, '')}`);
  expect(named.filter((path) => !there(path))).toEqual([]);
});

test('each fuzzer', () => {
  const rows = found(/^\| (`[a-z_` ]+`) \| .* \|$/gm).filter((row) => !row.includes('/'));
  const named = rows.flatMap((row) => row.replaceAll('`', '').split(' '));
  const programs = readdirSync(`${ROOT}/test/native/fuzz`).filter((name) => name.endsWith('.cc'));
  expect(named.sort()).toEqual(programs.map((name) => name.slice(0, -3)).sort());
});
