/**
 * Runs examples one after another, each on a fake kernel of its own with the containers `web` and `db`, unless it
 * brings one: node fake-examples.mjs [own:]FILE... A line of JSON for each.
 */
import { readFile, writeFile } from 'node:fs/promises';
import { pathToFileURL } from 'node:url';
import { format } from 'node:util';

const overns = await import(new URL('../../dist/index.js', import.meta.url));
const { FakeKernel } = await import(new URL('../../dist/testing/index.js', import.meta.url));
const print = console.log;

/** Calls that take a machine, and which of their arguments are the options. */
const ENTRIES = {
  Overlay: { create: 0, ensure: 0, open: 1, delete: 1, list: 0 },
  Rtnl: { open: 0, monitor: 0 },
  Resolver: { start: 0 },
  Agent: { start: 0 },
  netns: { list: 0, create: 1, ensure: 1, remove: 1, delete: 1, open: 1, watch: 0 },
};

const on = (system, call, at) =>
  function (...given) {
    given[at] = { system, ...given[at] };
    return call.apply(this, given);
  };

/** The library as an example imports it, with a machine that the example does not name. */
function libraryOn(system) {
  const library = { ...overns };
  library.doctor = on(system, overns.doctor, 0);
  library.queryResolver = on(system, overns.queryResolver, 1);
  for (const [name, entries] of Object.entries(ENTRIES)) {
    const get = (target, key) => (key in entries ? on(system, target[key], entries[key]) : target[key]);
    // Not of the module itself, whose properties cannot stand for others.
    library[name] = new Proxy(name === 'netns' ? { ...overns.netns } : overns[name], { get });
  }
  return library;
}

for (const argument of process.argv.slice(2)) {
  let file = argument.replace(/^own:/, '');
  if (file === argument) {
    const kernel = new FakeKernel();
    for (const name of ['web', 'db']) kernel.addNetns(name);
    globalThis.overns = libraryOn(kernel.system);
    const code = await readFile(argument, 'utf8');
    file = argument.replace(/mjs$/, 'fake.mjs');
    await writeFile(file, code.replaceAll(/^import (\{[^}]*\}) from 'overns';/gm, 'const $1 = globalThis.overns;'));
  }
  const printed = [];
  console.log = (...values) => printed.push(...format(...values).split('\n'));
  let error = '';
  try {
    await import(pathToFileURL(file));
  } catch (thrown) {
    error = String(thrown);
  }
  print(JSON.stringify({ file: argument.replace(/^own:/, ''), printed, error }));
}
