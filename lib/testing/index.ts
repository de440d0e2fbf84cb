/**
 * overns/testing: an in-memory kernel for unit tests of programs that embed overns, and the tests that every driver of a
 * store passes. Nothing of it is loaded by `overns` itself.
 */
export {
  type FailOptions,
  type FakeHostOptions,
  FakeKernel,
  type FakeNetnsOptions,
  type FakeState,
} from './fake-kernel.js';
export type { FakeRefusal, FakeRequest } from './machine.js';
export { type StoreCase, type StoreConformance, storeConformance } from './store-conformance.js';
export type { Crossing } from './wire.js';
