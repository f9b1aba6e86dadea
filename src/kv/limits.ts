/**
 * How large keys, values and requests may be. The one source for nodes and clients.
 *
 *     key       MAX_KEY_BYTES, on all nodes
 *     value     limits.maxValueBytes of the node that is asked, at most MAX_VALUE_BYTES
 *     request   limits.maxRequestBytes of that node, at most MAX_REQUEST_BYTES
 *
 * Every node refuses by its own limits what it is given, before it proposes, whether it leads or not. What one leader
 * has taken, all nodes apply, keep and answer, whatever their own settings are. So limits may be changed node by node.
 */
import type { WriteOperation } from './requests.js';

const KIB = 1024;
const MIB = 1024 * KIB;

export const MAX_KEY_BYTES = 4 * KIB;
/** No configuration may exceed it. An `append` makes no value larger either, whichever node leads. */
export const MAX_VALUE_BYTES = 64 * MIB;
export const MAX_REQUEST_BYTES = 256 * MIB;
export const MAX_OPERATIONS_PER_REQUEST = 4096;

/** What a node accepts from clients. */
export interface RequestLimits {
  readonly maxKeyBytes: number;
  readonly maxValueBytes: number;
  /** Keys, values and condition values of one write together. */
  readonly maxRequestBytes: number;
  readonly maxOperationsPerRequest: number;
}

/** What the service of one group accepts, and how large its pages are. */
export interface KvLimits extends RequestLimits {
  /** Requests under way at once; above it `OVERLOADED`. */
  readonly maxPendingRequests: number;
  readonly maxScanEntries: number;
  readonly maxScanBytes: number;
}

/** Those of a node whose node.json names no others (server/config.ts). */
export const DEFAULT_KV_LIMITS: KvLimits = {
  maxKeyBytes: MAX_KEY_BYTES,
  maxValueBytes: MIB,
  maxRequestBytes: 8 * MIB,
  maxOperationsPerRequest: MAX_OPERATIONS_PER_REQUEST,
  maxPendingRequests: 16_384,
  maxScanEntries: 1000,
  maxScanBytes: MIB,
};

export interface SizeRefusal {
  readonly code: 'KEY_EMPTY' | 'KEY_TOO_LARGE' | 'VALUE_TOO_LARGE' | 'REQUEST_TOO_LARGE';
  readonly message: string;
}

/** Why a node with these limits refuses a write, if it does. */
export function refusedWrite(
  limits: RequestLimits,
  operations: readonly Pick<WriteOperation, 'action' | 'key' | 'value' | 'conditionValue'>[],
): SizeRefusal | undefined {
  const { maxOperationsPerRequest, maxValueBytes, maxRequestBytes } = limits;
  if (operations.length > maxOperationsPerRequest) {
    const message = `${operations.length} operations exceed the limit of ${maxOperationsPerRequest} per request`;
    return { code: 'REQUEST_TOO_LARGE', message };
  }
  let bytes = 0;
  for (const { action, key, value, conditionValue } of operations) {
    const refusal = refusedKey(limits, key);
    if (refusal) return refusal;
    // A `modify` may hold several values. Each is judged when it is applied.
    if (value.length > maxValueBytes && action !== 'modify') {
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
