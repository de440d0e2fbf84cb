import { bundled } from './addon.js';

/** undici, loaded when it is needed first: it takes longer than all of overns. */
export async function undici(): Promise<typeof import('undici')> {
  try {
    return await import('undici');
  } catch (cause) {
    // What esbuild puts in the place of require() in an ES module.
    if (/^Dynamic require of /.test((cause as Error).message))
      throw bundled('undici in it calls require(), which an ES module does not have', cause);
    throw cause;
  }
}
