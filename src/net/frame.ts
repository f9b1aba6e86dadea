/**
 * The unit that connections carry. Integers are big-endian.
 *
 *     0        4        8
 *     +--------+--------+------- - -+
 *     | type   | length | body      |
 *     | u32    | u32    |           |
 *     +--------+--------+------- - -+
 *
 * `length` counts the body alone. The protocol defines the types.
 */
export const FRAME_HEADER_BYTES = 8;
export const MAX_U32 = 0xffff_ffff;

/** A received frame. `body` is a view of a received chunk: to keep a small part of it for long, copy that part. */
export interface Frame {
  readonly type: number;
  readonly body: Buffer;
}

/** A frame to send. The chunks are concatenated on the wire; they must not change until they are sent. */
export interface OutboundFrame {
  readonly type: number;
  readonly body: readonly Uint8Array[];
  /** The first chunk begins with `FRAME_HEADER_BYTES` bytes that do not belong to the body: for the header. */
  readonly hasRoomForHeader?: boolean;
}
