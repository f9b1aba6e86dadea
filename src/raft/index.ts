/** `raftree/raft`: the consensus core alone. Hand it inputs, carry out its outputs. */
export { Raft } from './raft.js';
export type * from './types.js';
export { EMPTY_HARD_STATE, entrySizeBytes, NOBODY } from './types.js';
