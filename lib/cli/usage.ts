/** Mistakes that the arguments alone show: exit status 2, before the machine is touched. */
import { OvernsError } from '../core/errors.js';
import { redact } from '../core/secrets.js';

export function usageError(message: string, hint?: string): OvernsError {
  return new OvernsError('OVERNS_USAGE', message, { hint });
}

/** A text of the caller's in quotation marks: without a URL's secrets, cut where it would fill the screen. */
export function quoted(text: string): string {
  const redacted = redact(text);
  return JSON.stringify(redacted.length > 80 ? `${redacted.slice(0, 80)}...` : redacted);
}
