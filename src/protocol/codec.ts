/** Encodes messages as frames and decodes them, by the table in messages.ts. */
import { RaftreeError } from '../env/errors.js';
import { FRAME_HEADER_BYTES, type Frame, type OutboundFrame } from '../net/frame.js';
import { ByteReader, FieldFault } from './byte-reader.js';
import { ByteWriter } from './byte-writer.js';
import { type FieldKind, struct } from './field-kinds.js';
import { HOT_READS, HOT_WRITES } from './hot-messages.js';
import {
  isRequestNumber,
  MESSAGES,
  type Message,
  type MessageName,
  type OutboundMessage,
} from './messages.js';

const REQUEST_ID_BYTES = 4;
interface Codec {
  readonly name: MessageName;
  readonly number: number;
  readonly body: FieldKind<unknown>;
  readonly hotRead: ((reader: ByteReader) => object) | undefined;
  readonly hotWrite: ((writer: ByteWriter, message: never) => void) | undefined;
}

const byName = new Map<string, Codec>();
const byNumber = new Map<number, Codec>();
for (const [name, { number, fields }] of Object.entries(MESSAGES)) {
  const codec: Codec = {
    name: name as MessageName,
    number,
    body: struct(fields as unknown as Readonly<Record<string, FieldKind<unknown>>>),
    hotRead: HOT_READS[name as MessageName],
    hotWrite: HOT_WRITES[name as MessageName],
  };
  byName.set(name, codec);
  byNumber.set(number, codec);
}

/** Shared by all calls. It never changes bytes that it has handed out. */
const writer = new ByteWriter();

/**
 * The frame of a message. Byte strings of 8 KiB and more are not copied: they must not change until it is sent.
 * Throws `UNENCODABLE` with the message's name for a value that its field cannot hold.
 */
export function encodeMessage(message: OutboundMessage): OutboundFrame {
  const codec = codecOf(message.type);
  return { type: codec.number, body: encode(codec, message, 0) };
}

/** The same, with room for the header of the frame in its first chunk. */
export function encodeMessageWithRoom(message: OutboundMessage): OutboundFrame {
  const codec = codecOf(message.type);
  return { type: codec.number, body: encode(codec, message, FRAME_HEADER_BYTES), hasRoomForHeader: true };
}

/**
 * The message in a frame. Byte strings are views of the frame's memory. Throws `UNKNOWN_MESSAGE`. Throws
 * `MALFORMED_MESSAGE`, with message and field, for a body that is too short or too long, or has a value that its field
 * does not allow. Both have `info.requestId`: 0 if the frame is of no request.
 */
export function decodeMessage(frame: Frame): Message {
  const codec = byNumber.get(frame.type);
  if (!codec) {
    throw new RaftreeError('UNKNOWN_MESSAGE', `there is no message of type ${frame.type}`, {
      info: { requestId: requestIdOf(frame) },
    });
  }
  const hot = codec.hotRead && readHot(codec.hotRead, frame.body);
  if (hot) return hot as Message;
  const fields = read(codec.name, codec.body, frame.body, requestIdOf(frame)) as Record<string, unknown>;
  // The fields that were read are those that the table has for this name.
  fields.type = codec.name;
  return fields as unknown as Message;
}

function codecOf(name: string): Codec {
  const codec = byName.get(name);
  if (!codec) throw new RaftreeError('UNENCODABLE', `there is no message "${name}"`);
  return codec;
}

function encode(codec: Codec, message: OutboundMessage, freeBytes: number): Uint8Array[] {
  return writeHot(codec, message, freeBytes) ?? write(codec.name, codec.body, message, freeBytes);
}

/** Undefined: the table is to write it, or to say why not. */
function writeHot(
  { hotWrite }: Codec,
  message: OutboundMessage,
  freeBytes: number,
): Uint8Array[] | undefined {
  if (!hotWrite) return undefined;
  writer.begin(freeBytes);
  try {
    hotWrite(writer, message as never);
    return writer.finish();
  } catch {
    return undefined;
  }
}

/** Undefined: the table is to read it, or to say what is wrong. */
function readHot(hotRead: (reader: ByteReader) => object, body: Buffer): object | undefined {
  const reader = new ByteReader(body);
  try {
    const message = hotRead(reader);
    return reader.remaining === 0 ? message : undefined;
  } catch (fault) {
    if (fault instanceof FieldFault) return undefined;
    throw fault;
  }
}

function write(name: string, kind: FieldKind<unknown>, value: unknown, freeBytes: number): Uint8Array[] {
  writer.begin(freeBytes);
  try {
    kind.write(writer, value);
  } catch (error) {
    if (!(error instanceof RaftreeError)) throw error;
    throw new RaftreeError(error.code, `${name}: ${error.message}`);
  }
  return writer.finish();
}

/** The request id in a frame, also in one that cannot be decoded. 0: the frame is of no request. */
function requestIdOf(frame: Frame): number {
  return isRequestNumber(frame.type) && frame.body.length >= REQUEST_ID_BYTES
    ? frame.body.readUInt32BE(0)
    : 0;
}

function read(name: string, kind: FieldKind<unknown>, body: Buffer, requestId = 0): unknown {
  const reader = new ByteReader(body);
  try {
    const value = kind.read(reader);
    if (reader.remaining > 0) throw new FieldFault(`${reader.remaining} bytes too many`);
    return value;
  } catch (fault) {
    if (!(fault instanceof FieldFault)) throw fault;
    const place = fault.path === '' ? name : `${name}.${fault.path}`;
    throw new RaftreeError('MALFORMED_MESSAGE', `${place}: ${fault.message}`, {
      info: { message: name, field: fault.path, requestId },
    });
  }
}
