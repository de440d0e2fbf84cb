/** An error, as one line or as one JSON object. */
import { OvernsError } from '../core/errors.js';
import { describe, errorWords, toJson } from './output.js';

/** Exit statuses. */
export const DONE = 0;
export const REFUSED = 1;
export const USAGE = 2;

const MISSING = '`overns doctor` says which privileges are missing';
const MANY = 'it takes some 30 of them: ulimit -n 4096';
const HINTS: Readonly<Record<string, string>> = { EACCES: MISSING, EPERM: MISSING, EMFILE: MANY, ENFILE: MANY };

/** True for a refusal of the system, whatever was about to be done. */
export function isSystemError(error: unknown): boolean {
  const { code, syscall } = Object(error) as NodeJS.ErrnoException;
  return code !== undefined && syscall !== undefined;
}

/** Errors that no part of overns made: their own words say too little alone. */
function inWords(error: unknown): Error {
  if (!(error instanceof Error)) return new OvernsError('OVERNS_UNEXPECTED', String(error));
  const { code, syscall, message } = error as NodeJS.ErrnoException;
  if (OvernsError.is(error) || code?.startsWith('ERR_INVALID_ARG')) return error;
  if (code !== undefined && syscall !== undefined) {
    return new OvernsError(code, message, { cause: error, hint: HINTS[code] });
  }
  return new OvernsError('OVERNS_UNEXPECTED', `unexpected: ${error.message}`, {
    cause: error,
    hint: 'this is a defect of overns: please report it with what --debug shows',
  });
}

/** One line: what failed, on what, the kernel's or the store's own words, and what to do about it. */
export function errorLine(error: unknown): string {
  return `overns: ${errorWords(inWords(error))}`;
}

/** The same as one JSON object. */
export function errorJson(error: unknown, exitCode: number): string {
  return toJson({ error: describe(inWords(error)), exitCode });
}
