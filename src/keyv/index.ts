/// <reference types="node" preserve="true" />
/** `raftree/keyv`: a cluster as a store of Keyv. */
export { KeyvRaftree, type KeyvRaftreeOptions, type KeyvRaftreeSettings } from './keyv-raftree.js';
