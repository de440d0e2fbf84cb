/** Mistakes that the arguments alone show: exit status 2, before the machine is touched. */
import { OvernsError } from '../core/errors.js';
import { redact } from '../core/secrets.js';

export function usageError(message: string, hint?: string): OvernsError {
  return new OvernsError('OVERNS_USAGE', message, { hint });
}

/** A text of the caller's in quotation marks: without a URL's secrets, cut where it would fill the screen. */
export function quoted(text: string): string {
  const told = redact(text);
  return JSON.stringify(told.length > 80 ? `${told.slice(0, 80)}...` : told);
}
