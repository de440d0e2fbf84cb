/** docs/errors.md lists the codes that the sources give, all of them, and no others. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { beforeAll, expect, test } from 'vitest';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const CODE = '((?:E|OVERNS_|ABORT_)[A-Z0-9_]+)';

/** Where a code is given to an error, and the cases of the remedies, which have a hint of their own. */
const GIVEN = [
  new RegExp(`new [A-Za-z]*Error\\(\\s*'${CODE}'`, 'g'),
  new RegExp(`\\bcode: '${CODE}'`, 'g'),
  new RegExp(`\\bcode \\?\\? '${CODE}'`, 'g'),
  new RegExp(`\\brefused\\('${CODE}'`, 'g'),
  /\), "(ERR_[A-Z_]+)"\)/g,
];

const listed: string[] = [];
const given = new Map<string, string>();
const mentioned = new Set<string>();

function codesIn(text: string, pattern: RegExp): string[] {
  return [...text.matchAll(pattern)].map(([, code]) => code as string);
}

beforeAll(() => {
  for (const row of readFileSync(join(ROOT, 'docs/errors.md'), 'utf8').matchAll(/^\| (`[^|]*`) \|/gm)) {
    listed.push(...codesIn(row[1] as string, /`(\w+)`/g));
  }
  const sources = ['lib', 'native/binding'].flatMap((folder) =>
    readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' }).map((name) => join(folder, name)),
  );
  for (const file of sources.filter((name) => /\.(ts|h|cc)$/.test(name))) {
    const text = readFileSync(join(ROOT, file), 'utf8').replaceAll(/^\s*(\/?\*|\/\/).*$/gm, '');
    const patterns = file === 'lib/system/remedies.ts' ? [...GIVEN, new RegExp(`case '${CODE}'`, 'g')] : GIVEN;
    for (const code of patterns.flatMap((pattern) => codesIn(text, pattern))) given.set(code, file);
    for (const code of codesIn(text, new RegExp(`['"]${CODE}['"]`, 'g'))) mentioned.add(code);
  }
});

test('every code that is given is in the list', () => {
  expect(given.size).toBeGreaterThan(40);
  expect([...given].filter(([code]) => !listed.includes(code))).toEqual([]);
});

test('the sources know every code of the list', () => {
  expect(listed.filter((code) => !mentioned.has(code))).toEqual([]);
});

test('each code is listed once', () => {
  expect(listed.filter((code, index) => listed.indexOf(code) !== index)).toEqual([]);
});
