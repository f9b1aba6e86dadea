/**
 * Sends small messages between nodes before large ones. Entries and snapshots (bulk) are sent in fragments, in order,
 * and a window limits how many bytes of them are on the way. Heartbeats, votes, answers and pings (control) are sent at
 * once, between two fragments. So a heartbeat waits for at most a window of bytes, not for a batch of many MB.
 *
 *     bulk      append(s), snapshotOffer, snapshotChunk  queue -> fragment, fragment, ...   within the window
 *     control   everything else                          as it comes
 *
 * The system's socket buffer holds megabytes, and does not say how much. So the receiver reports how many bytes have
 * arrived (`fragmentsReceived`). The window grows while fragments arrive within `targetDelayMs`, and is halved when
 * they arrive later, as in TCP Vegas and LEDBAT (RFC 6817).
 *
 * Bulk messages may be lost, because Raft sends them again. A message that is in the queue already is not queued twice,
 * and one for which the queue has no room is dropped.
 */
import type { Clock } from '../env/env.js';
import { RaftreeError } from '../env/errors.js';
import { MAX_REQUEST_BYTES } from '../kv/limits.js';
import { encodeMessage } from './codec.js';
import {
  type MessageContext,
  type MessageHandler,
  type ReceivedMessage,
  receivedMessage,
} from './message-handlers.js';
import { MESSAGES, type MessageOf, type OutboundMessage } from './messages.js';

const KIB = 1024;
const MIB = 1024 * KIB;

export const MAX_FRAGMENT_BYTES = 64 * KIB;
/** The longest frame between nodes. It depends on no setting. */
export const MAX_PEER_FRAME_BYTES = 2 * MAX_FRAGMENT_BYTES;
/** The longest message made of fragments: the largest entry that any configuration allows, and the fields around it. */
export const MAX_PEER_MESSAGE_BYTES = MAX_REQUEST_BYTES + 4 * MIB;

const MIN_FRAGMENT_BYTES = 16 * KIB;
/** Below the high water mark of a channel. */
const MAX_WINDOW_BYTES = MIB - MAX_FRAGMENT_BYTES;
const MIN_WINDOW_BYTES = 2 * MIN_FRAGMENT_BYTES;

/** The receiver reports after so many bytes at the latest: then the smallest window may be full. */
const REPORT_BYTES = MIN_WINDOW_BYTES;
/** After so many it reports with the next control message: that is no write, and no read, of its own. */
const REPORT_ALONG_BYTES = MIN_FRAGMENT_BYTES;
/** A message that does not fit into the queue is dropped. */
const MAX_QUEUED_BYTES = 64 * MIB;

const BULK_NUMBERS: ReadonlySet<number> = new Set([
  MESSAGES.append.number,
  MESSAGES.appends.number,
  MESSAGES.snapshotOffer.number,
  MESSAGES.snapshotChunk.number,
]);

export interface BulkLaneOptions {
  readonly clock: Clock;
  /** How long a control message may wait for bulk messages that were sent before it. */
  readonly targetDelayMs: number;
}

interface Waiting {
  readonly number: number;
  /** Two messages with the same name have the same content. */
  readonly name: string;
  /** What is not sent yet. */
  readonly chunks: Uint8Array[];
  remaining: number;
}

export class BulkLane implements MessageHandler {
  readonly #options: BulkLaneOptions;
  readonly #queue: Waiting[] = [];
  #queuedBytes = 0;
  #lists = 0;
  #windowBytes = MIN_WINDOW_BYTES;
  // Bytes of fragments since the connection was opened.
  #sentBytes = 0;
  #arrivedThere = 0;
  #arrivedHere = 0;
  #reportedHere = 0;
  /** The window is not halved again before so many bytes have arrived. */
  #halvedAt = 0;
  /** When the fragments on the way were sent. */
  readonly #sentAt: { readonly throughBytes: number; readonly atMs: number }[] = [];
  #assembledBytes = 0;
  #assembly: { readonly of: number; parts: Buffer[]; remaining: number } | undefined;

  constructor(options: BulkLaneOptions) {
    this.#options = options;
  }

  /** Bulk messages wait for the window. */
  get isWaiting(): boolean {
    return this.#queue.length > 0;
  }

  /** Throws `UNENCODABLE`, and `MESSAGE_TOO_LARGE` above `MAX_PEER_MESSAGE_BYTES`. */
  write(context: MessageContext, outbound: OutboundMessage): void {
    const { number } = MESSAGES[outbound.type];
    if (!BULK_NUMBERS.has(number)) {
      context.write(outbound);
      this.#report(context, REPORT_ALONG_BYTES);
      return;
    }
    const name = outbound.type === 'appends' ? `appends ${this.#lists++}` : nameOf(outbound);
    if (this.#queue.some((waiting) => waiting.name === name)) return;
    const { body: chunks } = encodeMessage(outbound);
    const sizeBytes = chunks.reduce((sum, chunk) => sum + chunk.length, 0);
    if (sizeBytes > MAX_PEER_MESSAGE_BYTES) {
      throw new RaftreeError(
        'MESSAGE_TOO_LARGE',
        `${outbound.type} would have ${sizeBytes} bytes; the limit between nodes is ${MAX_PEER_MESSAGE_BYTES}`,
      );
    }
    if (this.#queue.length > 0 && this.#queuedBytes + sizeBytes > MAX_QUEUED_BYTES) return;
    this.#queue.push({ number, name, chunks: [...chunks], remaining: sizeBytes });
    this.#queuedBytes += sizeBytes;
    this.#sendWithinWindow(context);
    this.#count(context);
  }

  read(context: MessageContext, message: ReceivedMessage): void {
    if (message.type === 'fragmentsReceived') {
      this.#arrived(message.totalBytes);
      this.#sendWithinWindow(context);
      this.#count(context);
    } else if (message.type === 'fragment') {
      this.#arrivedHere += message.bytes.length;
      this.#report(context, REPORT_BYTES);
      const whole = this.#assemble(message);
      this.#assembledBytes = this.#assembly ? this.#assembledBytes + message.bytes.length : 0;
      this.#count(context);
      if (whole) context.read(whole);
    } else {
      context.read(message);
    }
  }

  inactive(context: MessageContext, error: Error | undefined): void {
    this.#queue.length = 0;
    this.#assembly = undefined;
    context.inactive(error);
  }

  #report(context: MessageContext, leastBytes: number): void {
    if (this.#arrivedHere - this.#reportedHere < leastBytes) return;
    this.#reportedHere = this.#arrivedHere;
    context.write({ type: 'fragmentsReceived', totalBytes: this.#arrivedHere });
  }

  /** Counts the queued bytes in the budget of the node. */
  #count({ channel }: MessageContext): void {
    channel.buffers?.hold('fragments', this.#queuedBytes + this.#assembledBytes);
  }

  #sendWithinWindow(context: MessageContext): void {
    for (let first = this.#queue[0]; first; first = this.#queue[0]) {
      if (this.#sentBytes - this.#arrivedThere >= this.#windowBytes) return;
      const partOfWindow = Math.floor(this.#windowBytes / 16);
      const mostBytes = Math.max(MIN_FRAGMENT_BYTES, Math.min(MAX_FRAGMENT_BYTES, partOfWindow));
      const bytes = takenFrom(first.chunks, Math.min(first.remaining, mostBytes));
      first.remaining -= bytes.length;
      const { remaining } = first;
      this.#queuedBytes -= bytes.length;
      this.#sentBytes += bytes.length;
      this.#sentAt.push({ throughBytes: this.#sentBytes, atMs: this.#options.clock.nowMs() });
      if (remaining === 0) this.#queue.shift();
      context.write({ type: 'fragment', of: first.number, remaining, bytes });
    }
  }

  #arrived(totalBytes: number): void {
    if (totalBytes > this.#sentBytes || totalBytes < this.#arrivedThere) {
      throw malformed(`fragmentsReceived: ${totalBytes} bytes, of ${this.#sentBytes} that were sent`);
    }
    this.#arrivedThere = totalBytes;
    const known = this.#sentAt.findIndex(({ throughBytes }) => throughBytes > totalBytes);
    const [newest] = this.#sentAt.splice(0, known < 0 ? this.#sentAt.length : known).slice(-1);
    if (!newest) return;
    if (this.#options.clock.nowMs() - newest.atMs <= this.#options.targetDelayMs) {
      // The window grows only if messages wait for it.
      if (this.#queue.length > 0)
        this.#windowBytes = Math.min(MAX_WINDOW_BYTES, this.#windowBytes + MIN_FRAGMENT_BYTES);
    } else if (newest.throughBytes > this.#halvedAt) {
      // A whole number, however often it is halved: part of a byte cannot be sent.
      this.#windowBytes = Math.max(MIN_WINDOW_BYTES, Math.floor(this.#windowBytes / 2));
      this.#halvedAt = this.#sentBytes;
    }
  }

  /** Returns the message if this is its last fragment. Only bytes that have arrived take memory, up to a limit. */
  #assemble({ of, remaining, bytes }: MessageOf<'fragment'>): ReceivedMessage | undefined {
    const begun = this.#assembly ?? { of, parts: [], remaining: bytes.length + remaining };
    if (!BULK_NUMBERS.has(of))
      throw malformed(`fragment.of: a message of type ${of} is not sent in fragments`);
    if (of !== begun.of || remaining !== begun.remaining - bytes.length)
      throw malformed('fragment: it does not continue the one before');
    if (begun.remaining > MAX_PEER_MESSAGE_BYTES) {
      throw new RaftreeError(
        'FRAME_TOO_LARGE',
        `a message of ${begun.remaining} bytes is announced; the limit between nodes is ${MAX_PEER_MESSAGE_BYTES}`,
      );
    }
    if (remaining > 0 && bytes.length < MIN_FRAGMENT_BYTES)
      throw malformed(`fragment: ${bytes.length} bytes, and others are to follow`);
    begun.parts.push(bytes);
    begun.remaining = remaining;
    this.#assembly = remaining > 0 ? begun : undefined;
    if (remaining > 0) return undefined;
    const body = begun.parts.length === 1 ? bytes : Buffer.concat(begun.parts);
    return receivedMessage({ type: of, body });
  }
}

/** Takes so many bytes away. A view, if they are in one chunk: encoded bytes do not change any more. */
function takenFrom(chunks: Uint8Array[], sizeBytes: number): Uint8Array {
  const [only] = chunks;
  if (only && only.length > sizeBytes) {
    chunks[0] = only.subarray(sizeBytes);
    return only.subarray(0, sizeBytes);
  }
  const taken: Uint8Array[] = [];
  for (let left = sizeBytes; left > 0; ) {
    const chunk = chunks[0] as Uint8Array;
    const part = chunk.length > left ? chunk.subarray(0, left) : chunk;
    if (part === chunk) chunks.shift();
    else chunks[0] = chunk.subarray(left);
    taken.push(part);
    left -= part.length;
  }
  return taken.length === 1 ? (taken[0] as Uint8Array) : Buffer.concat(taken, sizeBytes);
}

function nameOf(message: OutboundMessage): string {
  switch (message.type) {
    case 'append':
      return `append ${message.group} ${message.term} ${message.previousIndex} ${message.entries.length}`;
    case 'snapshotChunk':
      return `chunk ${message.group} ${message.term} ${message.checkpoint} ${message.file} ${message.offset}`;
    case 'snapshotOffer':
      return `offer ${message.group} ${message.term} ${message.checkpoint}`;
    default:
      return message.type;
  }
}

function malformed(message: string): RaftreeError {
  return new RaftreeError('MALFORMED_MESSAGE', message);
}
