/** Mutations of src/net, and of the bounds of a node that other rooms keep. */
import { inFile, type Mutation } from '../mutation.js';

const account = inFile('net/buffer-account.js');
const budget = inFile('net/buffer-budget.js');
const decoder = inFile('net/frame-decoder.js');
const gate = inFile('net/answer-gate.js');
const turns = inFile('net/turns.js');
const listener = inFile('net/channel-listener.js');
const largeWrites = inFile('kv/large-writes.js');
const line = inFile('doors/write-line.js');
const backend = inFile('doors/backend.js');
const sessionWriter = inFile('client/session-writer.js');

export const NET_MUTATIONS: readonly Mutation[] = [
  {
    name: 'a frame is read without room for it',
    reason: 'its length has a limit',
    patches: [decoder('if (!buffers || this.#reservedBytes > 0) return true;', 'return true;')],
    killedBy: ['net/buffer-budget'],
  },
  {
    name: 'frames that stand still keep their room',
    reason: 'they may go on',
    patches: [budget('account.standstillMs(use, nowMs) <= MAX_STANDSTILL_MS', 'use !== undefined')],
    killedBy: ['net/buffer-budget'],
  },
  {
    name: 'a frame that trickles in goes on',
    reason: 'bytes arrive',
    patches: [account('done - this.#mark >= Math.min(restBytes, MIN_PROGRESS_BYTES)', 'done > this.#mark')],
    killedBy: ['net/buffer-budget'],
  },
  {
    name: 'clients use the part of the peers',
    reason: 'the limit is kept',
    patches: [
      budget('this.#maxBytes - Math.max(this.#maxBytes * PEER_PART, this.#heldBytes.peer)', 'this.#maxBytes'),
    ],
    killedBy: ['net/buffer-budget'],
  },
  {
    name: 'the only peer that holds anything is cut off',
    reason: 'it holds more than the limit',
    patches: [budget("return kind === 'peer' && holders < 2 ? undefined : greatest;", 'return greatest;')],
    killedBy: ['net/buffer-budget'],
  },
  {
    name: 'a large answer is written without room for it',
    reason: 'the channel is writable',
    patches: [gate('if (!buffers || sizeBytes <= SMALL_ANSWER_BYTES) return true;', 'return true;')],
    killedBy: ['net/answer-gate'],
  },
  {
    name: 'all answers are made in one turn',
    reason: 'they are asked for',
    patches: [turns('done < least || (this.#usedBytes < maxBytes && this.#usedMs < maxMs)', 'true')],
    killedBy: ['net/answer-gate'],
  },
  {
    name: 'the last place is anybody’s',
    reason: 'there is room',
    patches: [listener('(isLocal ? reservedForLoopback : 0)', 'reservedForLoopback')],
    killedBy: ['net/channel-listener'],
  },
  {
    name: 'large writes go as they come',
    reason: 'they are within the limits',
    patches: [largeWrites('return commandBytes > LARGE_BYTES;', 'return false;')],
    killedBy: ['kv/service'],
  },
  {
    name: 'a write of a connection overtakes a large one that waits',
    reason: 'the large one has begun',
    patches: [backend('kv.holdsLargeWrites && isLargeWrite(operations)', 'false')],
    killedBy: ['doors/write-line'],
  },
  {
    name: 'a write is passed on while one before it may still be proposed here',
    reason: 'that one has begun',
    patches: [backend('if (!line.isFirst(place)) await line.first(place);', '')],
    killedBy: ['doors/write-line'],
  },
  {
    name: 'what waits to be passed on holds back nothing',
    reason: 'the next one is proposed here, and quicker',
    patches: [line('this.hold(place);', '')],
    killedBy: ['doors/write-line'],
  },
  {
    name: 'a write that was passed on and given up is over',
    reason: 'it was answered with a timeout',
    patches: [line('if (!isKnown)', 'if (false)')],
    killedBy: ['doors/write-line'],
  },
  {
    name: 'each write of a connection has a lane of its own',
    reason: 'it is passed on',
    patches: [line('write(this.#lane)', 'write(new Lane())')],
    killedBy: ['doors/write-line', 'doors/http/order'],
  },
  {
    name: 'bytes behind a message that is read the fast way do not matter',
    reason: 'all fields were there',
    patches: [
      inFile('protocol/codec.js')('return reader.remaining === 0 ? message : undefined;', 'return message;'),
    ],
    killedBy: ['protocol/hot-messages'],
  },
  {
    name: 'a small write is sent behind a large one that its leader may let wait',
    reason: 'the large one is sent',
    patches: [sessionWriter('if (!isLargeWrite(operations)) turn?.sent(place);', 'turn?.sent(place);')],
    killedBy: ['client/order'],
  },
];
