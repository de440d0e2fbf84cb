/**
 * Prints the addon's source files for binding.gyp, from the lists that CMakeLists.txt reads as well:
 * native/sources.txt (the core) and native/binding/sources.txt (its Node-API part).
 */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

export const lists = ['native/sources.txt', 'native/binding/sources.txt'];

/** Paths relative to the checkout; empty lines and lines that begin with # are left out. */
export function sources() {
  return lists.flatMap((list) =>
    readFileSync(new URL(`../../${list}`, import.meta.url), 'utf8')
      .split('\n')
      .map((line) => line.trim())
      .filter((line) => line && !line.startsWith('#')),
  );
}

if (process.argv[1] === fileURLToPath(import.meta.url)) console.log(sources().join('\n'));
