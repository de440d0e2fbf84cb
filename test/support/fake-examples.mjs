/**
 * Runs examples one after another, each on a fake kernel of its own with the containers `web` and `db`, unless it
 * brings one: node fake-examples.mjs [own:]FILE... A line of JSON for each.
 */
import { pathToFileURL } from 'node:url';
import { format } from 'node:util';

const { FakeKernel } = await import(new URL('../../dist/testing/index.js', import.meta.url));
const print = console.log;

for (const argument of process.argv.slice(2)) {
  const file = argument.replace(/^own:/, '');
  const kernel = file === argument ? FakeKernel.install() : undefined;
  for (const name of ['web', 'db']) kernel?.addNetns(name);
  const printed = [];
  console.log = (...values) => printed.push(...format(...values).split('\n'));
  let error = '';
  try {
    await import(pathToFileURL(file));
  } catch (thrown) {
    error = String(thrown);
  }
  await kernel?.close();
  print(JSON.stringify({ file, printed, error }));
}
