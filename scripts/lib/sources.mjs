/**
 * Prints the addon's source files for binding.gyp, from the lists that CMakeLists.txt reads as well:
 * native/sources.txt (the core) and native/binding/sources.txt (its Node-API part). Written here are files that include
 * several of them, in `build/unity/`: compiling each by itself, more than half of the time goes into headers.
 */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

export const lists = ['native/sources.txt', 'native/binding/sources.txt'];

const TOGETHER = 8;
const folder = 'build/unity';

const at = (path) => new URL(`../../${path}`, import.meta.url);

function listed(list) {
  return readFileSync(at(list), 'utf8')
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line && !line.startsWith('#'));
}

/** Paths relative to the checkout; empty lines and lines that begin with # are left out. */
export function sources() {
  return lists.flatMap(listed);
}

/** Writes the files that are compiled, and gives their paths. */
function writeUnity() {
  rmSync(at(folder), { recursive: true, force: true });
  mkdirSync(at(folder), { recursive: true });
  return lists.flatMap((list, index) => {
    const all = listed(list);
    return Array.from({ length: Math.ceil(all.length / TOGETHER) }, (_, group) => {
      const path = `${folder}/${['core', 'binding'][index]}_${group}.cc`;
      const included = all.slice(group * TOGETHER, (group + 1) * TOGETHER);
      writeFileSync(at(path), included.map((source) => `#include "../../${source}"\n`).join(''));
      return path;
    });
  });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) console.log(writeUnity().join('\n'));
