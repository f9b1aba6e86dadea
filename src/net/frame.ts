/**
 * A frame is the unit that connections carry. Integers are big-endian.
 *
 *     0        4        8
 *     +--------+--------+------- - -+
 *     | type   | length | body      |
 *     | u32    | u32    |           |
 *     +--------+--------+------- - -+
 *
 * `length` counts the body alone. What the types mean is the protocol's matter.
 */
export const FRAME_HEADER_BYTES = 8;
export const MAX_U32 = 0xffff_ffff;

/**
 * A received frame. `body` is a view of received memory: whoever keeps a small part of it for long copies that part.
 */
export interface Frame {
  readonly type: number;
  readonly body: Buffer;
}

/** A frame to be sent. The chunks are sent as if they were one, and must not change until they are. */
export interface OutboundFrame {
  readonly type: number;
  readonly body: readonly Uint8Array[];
}
