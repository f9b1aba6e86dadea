/**
 * How large things may be: the one source for nodes and clients.
 *
 *     key       MAX_KEY_BYTES, on all nodes
 *     value     limits.maxValueBytes of the leader that takes the write, at most MAX_VALUE_BYTES
 *     request   limits.maxRequestBytes of that leader, at most MAX_REQUEST_BYTES
 *     answer    MAX_ANSWER_BYTES, on all nodes: every stored value fits, whoever took it and whatever was set since
 *
 * So the settings of a node bind only what clients give it while it leads. What one leader has taken all nodes apply,
 * keep and answer, whatever their own settings are. Limits may therefore be changed node by node.
 *
 * A node tells each client its limits (`limits`) when the handshake is done.
 */
import type { MessageOf, OutboundOperation } from './messages.js';

const KIB = 1024;
const MIB = 1024 * KIB;

/** The ids of nodes are u32. */
export const MAX_NODE_ID = 0xffff_ffff;
export const MAX_KEY_BYTES = 4 * KIB;
/** What no configuration may exceed. An `append` does not make a value larger either, whoever leads. */
export const MAX_VALUE_BYTES = 64 * MIB;
export const MAX_REQUEST_BYTES = 256 * MIB;
export const MAX_OPERATIONS_PER_REQUEST = 4096;

/** What a frame of a request holds beside the request's keys, values and conditions, and more. */
const REQUEST_FRAME_ROOM_BYTES = 2 * MIB;

/** The longest body of a frame that a node sends to a client: a page of a scan has at least one entry. */
export const MAX_ANSWER_BYTES = MAX_VALUE_BYTES + MIB;
/** The longest body of a frame that any node takes from a client. */
export const MAX_REQUEST_FRAME_BYTES = requestFrameBytes({ maxRequestBytes: MAX_REQUEST_BYTES });

/** What a node takes from clients. */
export type RequestLimits = Omit<MessageOf<'limits'>, 'type' | 'maxAnswerBytes'>;

/** The longest body of a frame that a node with these limits takes. */
export function requestFrameBytes({ maxRequestBytes }: Pick<RequestLimits, 'maxRequestBytes'>): number {
  return maxRequestBytes + REQUEST_FRAME_ROOM_BYTES;
}

type SizeCode = 'KEY_EMPTY' | 'KEY_TOO_LARGE' | 'VALUE_TOO_LARGE' | 'REQUEST_TOO_LARGE';

export interface SizeRefusal {
  readonly code: SizeCode;
  readonly message: string;
}

/** Why a node with these limits refuses a write, if it does. */
export function refusedWrite(
  limits: RequestLimits,
  operations: readonly OutboundOperation[],
): SizeRefusal | undefined {
  const { maxOperationsPerRequest, maxValueBytes, maxRequestBytes } = limits;
  if (operations.length > maxOperationsPerRequest) {
    const message = `${operations.length} operations exceed the limit of ${maxOperationsPerRequest} per request`;
    return { code: 'REQUEST_TOO_LARGE', message };
  }
  let bytes = 0;
  for (const { key, value, conditionValue } of operations) {
    const refusal = refusedKey(limits, key);
    if (refusal) return refusal;
    if (value.length > maxValueBytes) {
      const message = `a value of ${value.length} bytes exceeds the limit of ${maxValueBytes} bytes (limits.maxValueBytes)`;
      return { code: 'VALUE_TOO_LARGE', message };
    }
    bytes += key.length + value.length + conditionValue.length;
  }
  if (bytes <= maxRequestBytes) return undefined;
  const message = `a request of ${bytes} bytes exceeds the limit of ${maxRequestBytes} bytes (limits.maxRequestBytes)`;
  return { code: 'REQUEST_TOO_LARGE', message };
}

/** Why a node with these limits refuses a key, if it does. */
export function refusedKey(
  { maxKeyBytes }: Pick<RequestLimits, 'maxKeyBytes'>,
  key: Uint8Array,
): SizeRefusal | undefined {
  if (key.length === 0) return { code: 'KEY_EMPTY', message: 'a key has at least one byte' };
  if (key.length <= maxKeyBytes) return undefined;
  const message = `a key of ${key.length} bytes exceeds the limit of ${maxKeyBytes} bytes`;
  return { code: 'KEY_TOO_LARGE', message };
}
