/** The driver in examples/ passes what every driver has to, in the library and behind the CLI. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import driver from '../../examples/file-store.mjs';
import { openStore, registerStore } from '../../lib/index.js';
import { storeConformance } from '../../lib/testing/index.js';

const directory = mkdtempSync(join(tmpdir(), 'overns-file-'));
const registration = registerStore(driver);
afterAll(() => {
  registration[Symbol.dispose]();
  rmSync(directory, { recursive: true, force: true });
});

let count = 0;
const fresh = (): string => `file://${directory}/${++count}`;

describe('a JSON file for each network', () => {
  const cases = storeConformance({
    interest: false,
    url: () => `${fresh()}.json`,
    urlByVni: () => `${fresh()}/{vni}.json`,
    leases: false,
  });
  test.each(cases)('$name', ({ run }) => run());

  test('it keeps no records, and says how its URLs are written', async () => {
    await expect(openStore('file://relative.json')).rejects.toThrow('file:///srv/overns/demo.json');
  });
});
