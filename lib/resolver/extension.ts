/** Whatever stands on a resolver, such as an agent, and has its part in what the resolver hears. */
import type { ControlAnswer, ControlPeer, ControlRequest } from '../overlay/control.js';
import type { Change, Where } from '../store/contract.js';
import type { Interest } from '../store/interest.js';

/** Key of the property by which a resolver is extended. */
export const extension = Symbol('extension');

export interface ResolverExtension {
  /** Hears of each change that the store's watch of an overlay tells, which has been taken in. It does not throw. */
  observe(where: Where, change: Change): void;
  /** The addresses of an overlay that it wants to hear of whatever is followed. */
  own(where: Where): Interest;
  /** Answers what other processes ask that is not the resolver's to answer; undefined: nor is it this one's. */
  control(where: Where, request: ControlRequest, peer: ControlPeer): Promise<ControlAnswer> | undefined;
  /** Adds to what other processes are told of how an overlay is served. */
  status(where: Where): object;
}
