/**
 * overns/testing: an in-memory kernel for unit tests of programs that embed overns. Nothing of it is loaded by `overns`
 * itself.
 */
export {
  type FailOptions,
  type FakeHostOptions,
  FakeKernel,
  type FakeNetnsOptions,
  type FakeState,
} from './testing/fake-kernel.js';
export type { FakeRefusal, FakeRequest } from './testing/machine.js';
export type { Crossing } from './testing/wire.js';
