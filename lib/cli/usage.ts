/** Mistakes that the arguments alone show: exit status 2, before the machine is touched. */
import { OvernsError } from '../errors.js';

export function usageError(message: string, hint?: string): OvernsError {
  return new OvernsError('OVERNS_USAGE', message, { hint });
}
