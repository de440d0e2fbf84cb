#!/usr/bin/env node
/** The command `overns`. */
import type { End } from './run.js';

/** Loading fails where descriptors are short: said in one line, by what needs no further file. */
async function start(): Promise<End> {
  try {
    const { run } = await import('./run.js');
    return await run(process.argv.slice(2), process);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code !== 'EMFILE' && code !== 'ENFILE') throw error;
    process.stderr.write(`overns: ${message}; it takes some 30 of them: ulimit -n 4096\n`);
    return { status: 1 };
  }
}

start().then(({ status, signal }) => {
  // Ended by the signal itself, so that a shell's loop around this call ends too.
  if (signal !== undefined) process.kill(process.pid, signal);
  else process.exit(status);
});
