/** A refusal of the fake kernel: shaped as the addon's failures are. */
import { getSystemErrorMap } from 'node:util';
import type { NativeFailure } from '../system/native.js';

/** From names to numbers as this platform has them, so that the name comes out again everywhere. */
const numbers = new Map([...getSystemErrorMap()].map(([errno, [name]]) => [name, errno]));
// Node has no such name; see errnoName().
numbers.set('EOPNOTSUPP', -95);

export class Refusal extends Error implements NativeFailure {
  readonly errno: number;
  readonly syscall: string;
  readonly kernelMessage?: string;
  readonly attribute?: string;

  constructor(
    code: string,
    syscall: string,
    details: {
      readonly on?: string | undefined;
      readonly kernelMessage?: string | undefined;
      readonly attribute?: string | undefined;
    } = {},
  ) {
    super(details.on ?? syscall);
    const errno = numbers.get(code);
    if (errno === undefined) throw new RangeError(`code: ${JSON.stringify(code)} is not the name of an errno`);
    this.errno = errno;
    this.syscall = syscall;
    if (details.kernelMessage !== undefined) this.kernelMessage = details.kernelMessage;
    if (details.attribute !== undefined) this.attribute = details.attribute;
  }
}
