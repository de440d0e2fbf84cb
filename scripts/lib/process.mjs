/** Small helpers around child processes and the checkout, shared by the scripts. No dependencies. */
import { spawn, spawnSync } from 'node:child_process';
import { accessSync, constants, existsSync, statSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The checkout. */
export const root = fileURLToPath(new URL('../..', import.meta.url)).replace(/\/$/, '');

/** A failure whose one line says what, why and what to do: printed without a stack. */
export class Stop extends Error {}

/** Absolute path of a command on PATH, or undefined. */
export function which(command, path = process.env.PATH ?? '') {
  for (const dir of path.split(delimiter)) {
    if (!dir) continue;
    const file = join(dir, command);
    try {
      accessSync(file, constants.X_OK);
      if (statSync(file).isFile()) return file;
    } catch {
      // not in this folder
    }
  }
  return undefined;
}

/**
 * Runs a command to its end; its output goes to our stderr, so that stdout stays the caller's own.
 * Resolves to the exit status (128 + signal number when killed, 127 when it could not be started).
 */
export function run(command, args, { cwd = root, env = process.env, stdio } = {}) {
  return new Promise((resolve) => {
    const child = spawn(command, args, { cwd, env, stdio: stdio ?? ['ignore', 2, 2] });
    const forward = (signal) => child.kill(signal);
    const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'];
    for (const signal of signals) process.on(signal, forward);
    const done = (status) => {
      for (const signal of signals) process.off(signal, forward);
      resolve(status);
    };
    child.on('error', (error) => {
      process.stderr.write(`${command}: ${error.message}\n`);
      done(127);
    });
    child.on('exit', (code, signal) => done(signal ? 128 + (SIGNALS[signal] ?? 0) : code));
  });
}
const SIGNALS = { SIGHUP: 1, SIGINT: 2, SIGQUIT: 3, SIGABRT: 6, SIGKILL: 9, SIGSEGV: 11, SIGTERM: 15 };

/** Runs a command and returns its trimmed stdout, or undefined when it fails or is missing. */
export function capture(command, args, options = {}) {
  const result = spawnSync(command, args, {
    cwd: root,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
    ...options,
  });
  return result.status === 0 ? result.stdout.trim() : undefined;
}

/** Environment for node-gyp: the running Node's own headers when they are installed, so that nothing is downloaded. */
export function gypEnv(env = process.env) {
  if (env.npm_config_nodedir) return { ...env };
  const prefix = dirname(dirname(process.execPath));
  if (!existsSync(join(prefix, 'include/node/node_api.h'))) return { ...env };
  return { ...env, npm_config_nodedir: prefix };
}

/** Runs `main`, turning a Stop into one line and exit status 1. */
export async function script(main) {
  try {
    process.exitCode = (await main()) ?? 0;
  } catch (error) {
    if (!(error instanceof Stop) && !process.env.OVERNS_DEBUG) error.message = `unexpected: ${error.message}`;
    process.stderr.write(`${error instanceof Stop ? error.message : (error.stack ?? error)}\n`);
    process.exitCode = 1;
  }
}
