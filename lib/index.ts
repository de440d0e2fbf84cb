/** overns: VXLAN overlay networks for containers, resolved on demand. */

export { Agent, type AgentEvent, type AgentOptions, type RenumberedEvent } from './agent/agent.js';
export type { EndpointStatus, PublisherEvent } from './agent/endpoint-status.js';
export type { NeighborsFullEvent } from './agent/neighbor-limit.js';
export { type FollowerEvent, type FollowerOptions, OverlayFollower } from './agent/overlay-follower.js';
export type { Cancel } from './core/abort.js';
export { NetlinkError, type NetlinkErrorDetails, OvernsError, type OvernsErrorDetails } from './core/errors.js';
export type { QueueOptions, Subscription } from './core/subscription.js';
export type { DoctorCheck, DoctorReport } from './doctor/check.js';
export { type DoctorOptions, doctor } from './doctor/doctor.js';
export type { OpenNetns } from './netns/namespace.js';
export * as netns from './netns/namespace.js';
export {
  type NetnsExecOptions,
  type NetnsExit,
  type NetnsOutput,
  type NetnsProcess,
  type NetnsSpawnOptions,
  type NetnsStream,
  ProgramError,
} from './netns/program-types.js';
export type { NetnsRef } from './netns/references.js';
export type {
  NetnsAbstractOptions,
  NetnsConnectOptions,
  NetnsDgramOptions,
  NetnsListenOptions,
} from './netns/sockets.js';
export type { NetnsChange, NetnsEvent } from './netns/watch.js';
export type { OverlayOptions } from './overlay/create.js';
export type { DeviceEvent } from './overlay/device-keeper.js';
export type { EndpointEvent } from './overlay/endpoint-events.js';
export type { Miss } from './overlay/miss.js';
export { Overlay } from './overlay/overlay.js';
export type { Attachment } from './overlay/ports/attachment.js';
export type { ContainerRoute } from './overlay/ports/container-network.js';
export type { AttachOptions, DetachTarget } from './overlay/ports/options.js';
export type { OverlayInfo } from './overlay/state.js';
export type { ContainerRef } from './overlay/targets/container.js';
export type { UnderlayChange } from './overlay/underlay-watch.js';
export { type Counter, counters, type ResolverStats } from './resolver/counters.js';
export type { OverlayStatus, ResolverEvent } from './resolver/events.js';
export type { Program, ResolverOptions, Sync } from './resolver/options.js';
export { queryResolver, type RemotePublishing, type RemoteResolver, type RemoteStatus } from './resolver/remote.js';
export { Resolver } from './resolver/resolver.js';
export { type IdentityKind, identityOf } from './rtnl/identity.js';
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
  Timestamped,
} from './rtnl/monitor/events.js';
export { Rtnl } from './rtnl/rtnl.js';
export type { AddressTable } from './rtnl/tables/addresses.js';
export type { MdbTable, VlanTable } from './rtnl/tables/bridge.js';
export type { FdbTable } from './rtnl/tables/fdb.js';
export type { LinkRef, LinkTable } from './rtnl/tables/links.js';
export type { NeighborTable } from './rtnl/tables/neighbors.js';
export type { NexthopTable } from './rtnl/tables/nexthops.js';
export type { RouteTable } from './rtnl/tables/routes.js';
export type { RuleTable } from './rtnl/tables/rules.js';
export type { BatchAnswer, Operation, Table } from './rtnl/tables/table.js';
export type * from './rtnl/types.js';
export type { AddressPool } from './store/address-pool.js';
export {
  AddressAllocator,
  type AddressAllocatorOptions,
  type AllocateOptions,
  type Allocation,
} from './store/allocation.js';
export { ConflictError } from './store/conflict.js';
export type {
  Answer,
  Change,
  Claimed,
  ClaimOptions,
  Endpoint,
  Holder,
  LeaseOptions,
  OwnedStore,
  Query,
  Store,
  StoredEndpoint,
  StoreLease,
  WatchOnlyOptions,
  WatchOptions,
  Where,
} from './store/contract.js';
export type {
  DriverClaim,
  DriverLease,
  DriverOptions,
  DriverStore,
  StoreAddress,
  StoreDriver,
  StoreNetwork,
} from './store/driver.js';
export { type OpenStoreOptions, openStore } from './store/index.js';
export { Interest } from './store/interest.js';
export type { RecordEntry, RecordKind, RecordStore } from './store/records.js';
export { registerStore } from './store/registry.js';
export type { OnSystem, System } from './system/system.js';
