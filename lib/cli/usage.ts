/** Mistakes that the arguments alone show: exit status 2, before the machine is touched. */
import { OvernsError } from '../core/errors.js';

export function usageError(message: string, hint?: string): OvernsError {
  return new OvernsError('OVERNS_USAGE', message, { hint });
}

/** A text of the caller's in quotation marks, cut where it would fill the screen. */
export function quoted(text: string): string {
  return JSON.stringify(text.length > 80 ? `${text.slice(0, 80)}...` : text);
}
