/** The built command, as a process of its own. */
import type { SpawnOptions } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect } from 'vitest';
import { type ExecOptions, type ExecResult, exec, type Netns, type Running, spawn } from '../support/netns.js';

export const MAIN = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));

/** Nothing of the surroundings' own settings but which addon is tested, and no Docker of the machine's. */
export function environment(more: NodeJS.ProcessEnv = {}): NodeJS.ProcessEnv {
  const own = Object.entries(process.env).filter(
    ([name]) => !/^(OVERNS_(?!TEST|ADDON)|DOCKER_|CONSUL_|ETCDCTL_)/.test(name),
  );
  return { ...Object.fromEntries(own), DOCKER_HOST: 'unix:///nonexistent/docker.sock', ...more };
}

/** Runs it to its end, whichever that is. */
export function overns(
  words: string | readonly string[],
  options: ExecOptions & { netns?: Netns } = {},
): Promise<ExecResult> {
  const args = typeof words === 'string' ? words.split(' ').filter(Boolean) : words;
  const { netns, ...rest } = options;
  const all: ExecOptions = { check: false, ...rest, env: environment(rest.env) };
  return netns === undefined
    ? exec(process.execPath, [MAIN, ...args], all)
    : netns.exec(process.execPath, [MAIN, ...args], all);
}

/** Starts it; it is stopped when the test ends. */
export function start(words: string, { env, ...options }: SpawnOptions & { env?: NodeJS.ProcessEnv } = {}): Running {
  return spawn(process.execPath, [MAIN, ...words.split(' ').filter(Boolean)], { ...options, env: environment(env) });
}

/** It did what it was told; its stdout. */
export async function done(words: string | readonly string[], options?: Parameters<typeof overns>[1]): Promise<string> {
  const { code, stdout, stderr } = await overns(words, options);
  expect({ code, stderr }, `overns ${words}`).toEqual({ code: 0, stderr: '' });
  return stdout;
}

/** The same with --json: its one document. */
export async function document<T = Record<string, unknown>>(
  words: string,
  options?: Parameters<typeof overns>[1],
): Promise<T> {
  return JSON.parse(await done(`${words} --json`, options)) as T;
}

/** It was refused: status 1, nothing on stdout, one line on stderr; that line. */
export async function refused(
  words: string | readonly string[],
  options?: Parameters<typeof overns>[1],
): Promise<string> {
  const { code, stdout, stderr } = await overns(words, options);
  expect({ code, stdout }, `overns ${words}: ${stderr}`).toEqual({ code: 1, stdout: '' });
  expect(stderr).toMatch(/^overns: [^\n]+\n$/);
  return stderr.slice('overns: '.length, -1);
}

/** Refused with --json: the error object. */
export async function refusedJson(
  words: string,
  options?: Parameters<typeof overns>[1],
): Promise<{ code: string; message: string }> {
  const { code, stdout, stderr } = await overns(`${words} --json`, options);
  expect({ code, stdout }, `overns ${words}: ${stderr}`).toEqual({ code: 1, stdout: '' });
  const { error, exitCode } = JSON.parse(stderr);
  expect(exitCode).toBe(1);
  return error;
}
