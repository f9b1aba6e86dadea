/**
 * Sends what several groups say to one node in one turn as one message: a frame, and its way through the pipeline, cost
 * more than a heartbeat. In a list each message has the number and the body that its own frame would have.
 *
 *     group 1: heartbeat ─┐
 *     group 2: heartbeat ─┼─> messages [heartbeat, heartbeat, appendReply]   at the end of the turn
 *     group 7: appendReply┘
 *     group 3: append ────┬─> appends [append, append]                       through the bulk lane
 *     group 5: append ────┘
 *
 * As long as one group alone has used the connection, its messages go at once and as they are. So does what is long,
 * or of no group; what was collected before goes first. Small appends are collected only while no bulk message waits:
 * the lane does not queue an append twice, but it cannot look into lists.
 */
import { RaftreeError } from '../env/errors.js';
import type { BulkLane } from './bulk-lane.js';
import { encodeMessage } from './codec.js';
import {
  type MessageContext,
  type MessageHandler,
  type ReceivedMessage,
  receivedMessage,
} from './message-handlers.js';
import { MESSAGES, type MessageName, type OutboundMessage, type OutboundOf } from './messages.js';

const KIB = 1024;
/** A longer body goes in a frame of its own. */
const MAX_LISTED_BODY_BYTES = 4 * KIB;
/** A list that has so many bytes of bodies is sent before the turn ends. */
const FULL_LIST_BYTES = 32 * KIB;
/** A longer list is refused. No shorter body than that of `timeoutNow` is in a list. */
const MAX_LIST_MESSAGES = (FULL_LIST_BYTES + MAX_LISTED_BODY_BYTES) / 12;

type ListName = 'messages' | 'appends';

const LIST_OF: Partial<Record<MessageName, ListName>> = {
  requestVote: 'messages',
  voteReply: 'messages',
  append: 'appends',
  appendReply: 'messages',
  heartbeat: 'messages',
  heartbeatReply: 'messages',
  timeoutNow: 'messages',
  readIndex: 'messages',
  readIndexReply: 'messages',
  quietOffer: 'messages',
  quietReply: 'messages',
};

const NUMBERS: Readonly<Record<ListName, ReadonlySet<number>>> = {
  messages: numbersOf('messages'),
  appends: numbersOf('appends'),
};

function numbersOf(list: ListName): ReadonlySet<number> {
  const names = Object.keys(LIST_OF) as MessageName[];
  return new Set(names.filter((name) => LIST_OF[name] === list).map((name) => MESSAGES[name].number));
}

type Listed = OutboundOf<ListName>['messages'][number];

export class MessageLists implements MessageHandler {
  readonly #lane: Pick<BulkLane, 'isWaiting'>;
  /** The one group that has used the connection so far; 'many' after that. */
  #groups: number | 'many' | undefined;
  readonly #collected: Record<ListName, Listed[]> = { appends: [], messages: [] };
  #collectedBytes = 0;
  #isScheduled = false;

  constructor(lane: Pick<BulkLane, 'isWaiting'>) {
    this.#lane = lane;
  }

  /** Throws `UNENCODABLE`, and what the handlers before it throw. */
  write(context: MessageContext, outbound: OutboundMessage): void {
    const list = this.#listFor(outbound);
    if (!list) {
      this.#send(context);
      context.write(outbound);
      return;
    }
    const { body: chunks } = encodeMessage(outbound);
    const [body] = chunks;
    if (!body || chunks.length > 1 || body.length > MAX_LISTED_BODY_BYTES) {
      this.#send(context);
      context.write(outbound);
      return;
    }
    this.#collected[list].push({ number: MESSAGES[outbound.type].number, body });
    this.#collectedBytes += body.length;
    if (this.#collectedBytes >= FULL_LIST_BYTES) this.#send(context);
    else if (!this.#isScheduled) {
      this.#isScheduled = true;
      const { channel } = context;
      channel.env.timers.endOfTurn(() => {
        this.#isScheduled = false;
        this.#send(context);
        // The turn of the messages is over already: the channel must not wait for the end of another one.
        channel.flush();
      });
    }
  }

  read(context: MessageContext, message: ReceivedMessage): void {
    const { type } = message;
    if (type !== 'messages' && type !== 'appends') {
      context.read(message);
      return;
    }
    const { messages } = message;
    if (messages.length > MAX_LIST_MESSAGES)
      throw malformed(
        `${type}.messages: ${messages.length} messages; a list has at most ${MAX_LIST_MESSAGES}`,
      );
    for (const { number, body } of messages) {
      if (!NUMBERS[type].has(number) || body.length > MAX_LISTED_BODY_BYTES)
        throw malformed(
          `${type}.messages: a message of type ${number} with ${body.length} bytes is not sent in this list`,
        );
      context.read(receivedMessage({ type: number, body }));
      // It was refused: nothing behind it counts.
      if (!context.channel.isOpen) return;
    }
  }

  inactive(context: MessageContext, error: Error | undefined): void {
    this.#clear();
    context.inactive(error);
  }

  /** Undefined: the message goes at once, as it is. */
  #listFor(outbound: OutboundMessage): ListName | undefined {
    const list = LIST_OF[outbound.type];
    if (!list || !('group' in outbound)) return undefined;
    this.#groups ??= outbound.group;
    if (this.#groups === outbound.group) return undefined;
    this.#groups = 'many';
    if (outbound.type !== 'append') return list;
    if (this.#lane.isWaiting) return undefined;
    let sizeBytes = 0;
    for (const { body } of outbound.entries) sizeBytes += body.length;
    return sizeBytes < MAX_LISTED_BODY_BYTES ? list : undefined;
  }

  #send(context: MessageContext): void {
    const { appends, messages } = this.#collected;
    const { channel } = context;
    this.#clear();
    if (!channel.isOpen) return;
    if (appends.length > 0) context.write({ type: 'appends', messages: appends });
    if (messages.length > 0) context.write({ type: 'messages', messages });
  }

  #clear(): void {
    this.#collected.appends = [];
    this.#collected.messages = [];
    this.#collectedBytes = 0;
  }
}

function malformed(message: string): RaftreeError {
  return new RaftreeError('MALFORMED_MESSAGE', message);
}
