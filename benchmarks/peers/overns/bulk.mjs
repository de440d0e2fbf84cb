// @ts-check
/**
 * overns writes many entries, once, in a fresh process: from the call of batch() to its answers.
 *
 * bulk.mjs PACKAGE OPTIONS(JSON): prints { seconds, failed }.
 */
const [, , folder = '', json = '{}'] = process.argv;
const { netns, kind, first, count, vtep } = JSON.parse(json);
const { Rtnl } = await import(`${folder}/dist/index.js`);

const base = first
  .split('.')
  .reduce((/** @type {number} */ sum, /** @type {string} */ byte) => sum * 256 + Number(byte), 0);
const hex = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'));
// As from a file or a store: texts in one piece, which those put together here would become only when they are read.
const operations = JSON.parse(
  JSON.stringify(
    Array.from({ length: count }, (_, i) => {
      const value = base + i;
      const bytes = [value >>> 24, (value >>> 16) & 255, (value >>> 8) & 255, value & 255];
      const mac = `02:42:${bytes.map((byte) => hex[byte]).join(':')}`;
      const item =
        kind === 'fdb'
          ? { link: 'vxlan1', mac, dst: vtep, state: 'dynamic' }
          : { link: 'vxlan1', ip: bytes.join('.'), mac, state: 'permanent' };
      return { op: 'replace', item };
    }),
  ),
);

const rtnl = await Rtnl.open({ netns: { path: netns } });
const table = kind === 'fdb' ? rtnl.fdb : rtnl.neighbors;
// A million at once would be a million answers at once as well.
const CHUNK = 100_000;
let failed = 0;
const start = performance.now();
for (let at = 0; at < count; at += CHUNK) {
  const answers = await table.batch(count <= CHUNK ? operations : operations.slice(at, at + CHUNK));
  for (const answer of answers) if (!answer.ok) failed++;
}
const seconds = (performance.now() - start) / 1000;
await rtnl.close();
process.stdout.write(`${JSON.stringify({ seconds, failed })}\n`);
