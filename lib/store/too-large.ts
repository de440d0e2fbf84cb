/** The refusal to mirror what is too much. */
import { OvernsError } from '../core/errors.js';

/** @param max addresses, or undefined where it is the store's own limit that is met */
export function tooLarge(name: string, max?: number): OvernsError {
  const limit = max === undefined ? 'than can be read at once' : `than ${max} addresses`;
  return new OvernsError('OVERNS_TOO_LARGE', `${name}: there are more ${limit}`, {
    hint: "watch what is used alone, with `sync: 'used'`, or spread the network over several prefixes",
  });
}
