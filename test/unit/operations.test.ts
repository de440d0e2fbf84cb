/** docs/operations.md explains each counter, in the words of the table that everything else takes them from. */
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { counters } from '../../lib/resolver/counters.js';

test('its table of counters is the one that stats() and show print', () => {
  const text = readFileSync(new URL('../../docs/operations.md', import.meta.url), 'utf8');
  const rows = [...text.matchAll(/^\| `(\w+)` \| ([^|]*) \|$/gm)].map(([, key, help]) => [key, help]);
  expect(rows).toEqual(Object.entries(counters).map(([key, { help }]) => [key, help]));
});
