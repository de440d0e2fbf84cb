/** The house keeps its order: a folder of lib/ imports from those below it, and no two files import each other in a circle. */
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { expect, test } from 'vitest';

const LIB = resolve(import.meta.dirname, '../../lib');
/** From the ground up. `index.ts` is the roof that a library user sees; the CLI stands on it, and nothing on the CLI. */
const LAYERS = ['core', 'system', 'netns', 'rtnl', 'store', 'overlay', 'resolver', 'agent', 'doctor', 'index', 'cli'];
/** The fake kernel stands in for the machine: it knows what lies below the overlay, and the resolver that it plays. */
const TESTING = 'testing';

/** Each file with the files of lib/ that it imports; types too, since a reader follows them as well. */
function imports(): Map<string, string[]> {
  const files = readdirSync(LIB, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.ts'));
  return new Map(
    files.map((file) => {
      const text = readFileSync(join(LIB, file), 'utf8').replace(/^ \*.*$/gm, '');
      const named = [...text.matchAll(/(?:\bfrom |\bimport\()'(\.[^']+)\.js'/g)].map(([, path]) =>
        relative(LIB, `${resolve(LIB, dirname(file), path ?? '')}.ts`),
      );
      return [file, named];
    }),
  );
}

const layerOf = (file: string): string => (file.includes('/') ? (file.split('/')[0] ?? '') : file.replace(/\.ts$/, ''));

test('a folder imports only from those below it', () => {
  const wrong: string[] = [];
  for (const [file, named] of imports()) {
    for (const other of named) {
      const [from, to] = [layerOf(file), layerOf(other)];
      if (from === to) continue;
      const down =
        from === TESTING ? to !== 'cli' : LAYERS.indexOf(to) >= 0 && LAYERS.indexOf(to) < LAYERS.indexOf(from);
      if (!down) wrong.push(`${file} imports ${other}`);
    }
  }
  expect(wrong).toEqual([]);
});

test('no files import each other in a circle', () => {
  const graph = imports();
  const done = new Set<string>();
  const circles: string[] = [];
  const visit = (file: string, path: readonly string[]): void => {
    if (path.includes(file)) circles.push([...path.slice(path.indexOf(file)), file].join(' -> '));
    if (path.includes(file) || done.has(file)) return;
    for (const next of graph.get(file) ?? []) visit(next, [...path, file]);
    done.add(file);
  };
  for (const file of graph.keys()) visit(file, []);
  expect(circles).toEqual([]);
});
