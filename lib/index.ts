/** overns: VXLAN overlay networks for containers, resolved on demand. */
export type { Attachment } from './attachment.js';
export type { ContainerRoute } from './container-network.js';
export { type Counter, counters, type ResolverStats } from './counters.js';
export { NetlinkError, type NetlinkErrorDetails, OvernsError, type OvernsErrorDetails } from './errors.js';
export { type IdentityKind, identityOf } from './identity.js';
export type {
  InNetns,
  MonitorGroup,
  MonitorOptions,
  RtnlChange,
  RtnlEvent,
  RtnlMiss,
  RtnlOverrun,
  RtnlSyncEvent,
  SnapshotEvent,
  Told,
} from './monitor.js';
export type {
  NetnsAbstractOptions,
  NetnsConnectOptions,
  NetnsDgramOptions,
  NetnsEvent,
  NetnsListenOptions,
  OpenNetns,
} from './namespace.js';
export * as netns from './namespace.js';
export { type AttachOptions, Overlay, type OverlayInfo, type OverlayOptions } from './overlay.js';
export {
  type NetnsExecOptions,
  type NetnsExit,
  type NetnsOutput,
  type NetnsProcess,
  type NetnsSpawnOptions,
  type NetnsStream,
  ProgramError,
} from './program.js';
export { Resolver, type ResolverOptions } from './resolver.js';
export {
  type BatchAnswer,
  type FdbTable,
  type LinkTable,
  type NeighborTable,
  type NexthopTable,
  type RouteTable,
  Rtnl,
  type RuleTable,
  type Table,
} from './rtnl.js';
export type * from './rtnl-types.js';
export { type OpenStoreOptions, openStore } from './store/index.js';
export type * from './types.js';
