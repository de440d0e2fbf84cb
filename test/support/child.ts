/** Scripts that run in a process of their own, with the built library: for what would end or block the test itself. */
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { type ExecResult, exec, type Running, spawn } from './process.js';

const LIBRARY = pathToFileURL(fileURLToPath(new URL('../../dist/index.js', import.meta.url))).href;

/** Beginning of every script: the library, `args`, and `say()` for JSON lines. */
const PRELUDE = `
import { writeSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
const overns = await import(${JSON.stringify(LIBRARY)});
const { Overlay, Resolver, Rtnl, openStore } = overns;
const args = JSON.parse(process.argv[1] ?? 'null');
const say = (value) => writeSync(1, JSON.stringify(value, (_, each) => typeof each === 'bigint' ? String(each) : each) + '\\n');
`;

function command(source: string, args: unknown): string[] {
  return ['--input-type=module', '-e', PRELUDE + source, JSON.stringify(args)];
}

/** Runs a script to its end. Never rejects for a failing one. */
export function runChild(source: string, args: unknown = null, timeout = 30_000): Promise<ExecResult> {
  return exec(process.execPath, command(source, args), { check: false, timeout });
}

/** Starts a script. */
export function startChild(source: string, args: unknown = null): Running {
  return spawn(process.execPath, command(source, args));
}

/** Whether a SIGSTOP has reached all threads of a process: until then they go on. */
export function isStopped(pid: number): boolean {
  const threads = readdirSync(`/proc/${pid}/task`);
  return threads.every((thread) => /\) [Tt] /.test(readFileSync(`/proc/${pid}/task/${thread}/stat`, 'latin1')));
}

/** The JSON lines that a script said. */
// biome-ignore lint/suspicious/noExplicitAny: as each test has it
export function said(child: { readonly stdout: string }): any[] {
  return child.stdout
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line));
}
