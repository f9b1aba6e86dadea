/**
 * How large frames may be. The limits of keys, values and requests are in kv/limits.ts.
 *
 *     request   a node accepts its own limits.maxRequestBytes and some room for other fields
 *     answer    MAX_ANSWER_BYTES, on all nodes: every stored value fits, whatever limit it was written with
 *
 * A node sends each client its limits (`limits`) when the handshake is done.
 */
import { MAX_REQUEST_BYTES, MAX_VALUE_BYTES, type RequestLimits } from '../kv/limits.js';

const MIB = 1024 * 1024;

/** The ids of nodes are u32. */
export const MAX_NODE_ID = 0xffff_ffff;

/** Room in the frame of a request for everything but keys, values and condition values. */
const REQUEST_FRAME_ROOM_BYTES = 2 * MIB;

/** The longest body of a frame that a node sends to a client. A page of a scan has at least one entry. */
export const MAX_ANSWER_BYTES = MAX_VALUE_BYTES + MIB;
/** The longest body of a frame that any node accepts from a client. */
export const MAX_REQUEST_FRAME_BYTES = requestFrameBytes({ maxRequestBytes: MAX_REQUEST_BYTES });

/** The longest body of a frame that a node with these limits accepts from a client. */
export function requestFrameBytes({ maxRequestBytes }: Pick<RequestLimits, 'maxRequestBytes'>): number {
  return maxRequestBytes + REQUEST_FRAME_ROOM_BYTES;
}
