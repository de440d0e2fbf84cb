/** Drivers of stores that are not built in, before a verb reads the URL of one. */
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { registerStore } from '../store/index.js';
import { usageError } from './usage.js';

const loaded = new Set<string>();

/** @param files what OVERNS_DRIVERS says: modules with a driver as their default export, semicolons between them */
export async function loadDrivers(files: string): Promise<void> {
  for (const file of files.split(';').map((each) => each.trim())) {
    const url = pathToFileURL(resolve(file)).href;
    if (file === '' || loaded.has(url)) continue;
    try {
      registerStore(((await import(url)) as { default: Parameters<typeof registerStore>[0] }).default);
    } catch (error) {
      throw usageError(
        `OVERNS_DRIVERS: ${file}: ${(error as Error).message}`,
        'name JavaScript files, each with a StoreDriver as its default export',
      );
    }
    loaded.add(url);
  }
}
