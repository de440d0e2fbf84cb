#!/usr/bin/env node
/** The command `overns`. */
import { run } from './run.js';

run(process.argv.slice(2), process).then(({ status, signal }) => {
  // Ended by the signal itself, so that a shell's loop around this call ends too.
  if (signal !== undefined) process.kill(process.pid, signal);
  else process.exit(status);
});
