/** `memory:`, empty whenever it is opened. */
import type { StoreDriver } from '../driver.js';
import { MemoryStore } from './store.js';

export const memory: StoreDriver = {
  title: 'the store',
  schemes: ['memory'],
  form: 'memory:',
  example: 'memory:',
  inProcess: true,
  parse(url, refuse) {
    if (!/^memory:$/i.test(url)) throw refuse("the in-process store's URL: write memory:");
    return { text: 'memory:', prefix: '' };
  },
  open: () => new MemoryStore(),
};
