/** The types of Rtnl's rows, under the kernel's own terms. A field that the kernel does not tell is absent. */
export type * from './types/addresses.js';
export type * from './types/bridge.js';
export type * from './types/common.js';
export type * from './types/link-kinds.js';
export type * from './types/links.js';
export type * from './types/neighbors.js';
export type * from './types/nexthops.js';
export type * from './types/routes.js';
export type * from './types/rules.js';
