/** overns: VXLAN overlay networks for containers, resolved on demand. */
export { NetlinkError, OvernsError } from './errors.js';
export { type AttachOptions, Overlay, type OverlayInfo, type OverlayOptions } from './overlay.js';
export { Resolver, type ResolverOptions } from './resolver.js';
export {
  type Address,
  type BatchAnswer,
  type FdbEntry,
  type Link,
  type LinkSpec,
  type LinkTable,
  type Neighbor,
  type PeerSpec,
  type Route,
  Rtnl,
  type RtnlEvent,
  type Table,
} from './rtnl.js';
export { type OpenStoreOptions, openStore } from './store/index.js';
export type * from './types.js';
