/** Mutations of src/client. */
import { inFile, type Mutation, randomFaults } from '../mutation.js';

const scanRange = inFile('client/scan-range.js');
const order = inFile('client/key-order.js');
const router = inFile('client/router.js');
const session = inFile('client/write-session.js');
const table = inFile('client/request-table.js');
const direct = inFile('client/direct-call.js');
const writer = inFile('client/session-writer.js');

const MESSAGES = ['messageFaults', 'cutClient', 'isolateLeader', 'slowLinks'] as const;

export const CLIENT_MUTATIONS: readonly Mutation[] = [
  {
    name: 'another attempt of a write has a new sequence',
    reason: 'each request has its own number',
    patches: [
      writer(
        'sequence, acknowledgedThrough: session.acknowledgedThrough,',
        'sequence: session.hasRoom ? session.take() : sequence, acknowledgedThrough: session.acknowledgedThrough,',
      ),
    ],
    killedBy: randomFaults(60, ...MESSAGES),
  },
  {
    name: 'an attempt without an answer is not committed',
    reason: 'nobody has said that it was',
    patches: [
      router("return 'notCommitted'; return 'unknown';", "return 'notCommitted'; return 'notCommitted';"),
    ],
    killedBy: randomFaults(60, ...MESSAGES),
  },
  {
    name: 'the last attempt decides what is known of a write',
    reason: 'each attempt sets it',
    patches: [
      router(
        "if (LASTING.has(request.type) && pending.sent && outcomeOf(error) === 'unknown') call.uncertain = true;",
        "if (LASTING.has(request.type) && pending.sent) call.uncertain = outcomeOf(error) === 'unknown';",
      ),
    ],
    killedBy: randomFaults(80, ...MESSAGES),
  },
  {
    name: 'a write whose session expired is done again in a new one',
    reason: 'the node has said that it knows nothing of it',
    patches: [writer(" || error.outcome === 'unknown') throw error;", ') throw error;')],
    killedBy: randomFaults(200, ...MESSAGES),
  },
  {
    name: 'the floor passes writes that are under way',
    reason: 'the newest answer says how far it is',
    patches: [
      session(
        'while (this.#done[(this.#floor + 1) % this.#window] === 1) {',
        'while (this.#floor < sequence) {',
      ),
    ],
    killedBy: randomFaults(200, ...MESSAGES),
  },
  {
    name: 'the floor is never told',
    reason: 'the node keeps results by itself',
    patches: [writer('acknowledgedThrough: session.acknowledgedThrough,', 'acknowledgedThrough: 0,')],
    killedBy: randomFaults(60),
  },
  {
    name: 'one write more than the window holds is sent',
    reason: 'off by one',
    patches: [
      session('this.#next <= this.#floor + this.#window', 'this.#next <= this.#floor + this.#window + 1'),
    ],
    killedBy: randomFaults(60, ...MESSAGES),
  },
  {
    name: 'a change of members that may be done is not committed',
    reason: 'only writes last',
    patches: [router("new Set(['write', ...CHANGES])", "new Set(['write'])")],
    killedBy: ['client/members', 'client/client'],
  },
  {
    name: 'a write does not name the one that it follows',
    reason: 'they are sent in order',
    patches: [writer('after: turn?.after ?? 0,', 'after: 0,')],
    killedBy: randomFaults(60, ...MESSAGES),
  },
  {
    name: 'a write follows one that was sent in another session',
    reason: 'it is sent',
    patches: [order('earlier?.session === session &&', 'earlier !== undefined &&')],
    killedBy: ['client/key-order'],
  },
  {
    name: 'a write follows the latest of those before it',
    reason: 'the others are earlier',
    patches: [order('this.#only = this.#before === 0 ? earlier : undefined;', 'this.#only = earlier;')],
    killedBy: ['client/key-order', 'client/order'],
  },
  {
    name: 'a write is repeated while the one that it follows is not sent',
    reason: 'it was sent before',
    patches: [
      writer(
        'return !turn || !place || turn.maySend(place.session, place.sequence) ? undefined : turn.changed();',
        'return undefined;',
      ),
    ],
    killedBy: ['client/order'],
  },
  {
    name: 'writes of a lane have no order',
    reason: 'their keys differ',
    patches: [order('if (lane.latest && !lane.latest.isOver) turn.follow(lane.latest);', '')],
    killedBy: randomFaults(60, ...MESSAGES),
  },
  {
    name: 'a place in a new session is kept by a write that may not be sent there yet',
    reason: 'it will be sent there',
    patches: [writer('if (!turn || turn.maySend(place.session)) return place;', 'return place;')],
    killedBy: ['client/order'],
  },
  {
    name: 'the next write to a key does not wait for the floor to pass the one that was given up',
    reason: 'nobody waits for that one',
    patches: [writer("if (error.outcome === 'unknown') givenUp = { owned, place };", '')],
    killedBy: ['client/order'],
  },
  {
    name: 'a write that gives up its turn lets the next one past those before it',
    reason: 'it will not be sent',
    patches: [order('this.isReady ? [this] : []', '[this]')],
    killedBy: ['client/order'],
  },
  {
    name: 'a request that a follower would refuse is refused',
    reason: 'all nodes have the same limits',
    patches: [
      router(
        "if (refusal && typeof target === 'number') await this.#checkLeads(connection, call, target);",
        '',
      ),
    ],
    killedBy: ['client/limits'],
  },
  {
    name: 'writes to two keys with one hash wait for each other',
    reason: 'keys with one hash are one key',
    patches: [order('latest.hash === hash && Buffer.compare(latest.key, key) === 0', 'latest.hash === hash')],
    killedBy: ['client/key-order'],
  },
  {
    name: 'a late answer is taken for that of the request that has its slot now',
    reason: 'the slot is the request',
    patches: [table('entry?.requestId === requestId ? entry : undefined', 'entry')],
    killedBy: ['client/request-table'],
  },
  {
    name: 'a first attempt that may be in a log counts as not committed',
    reason: 'only further attempts are judged',
    patches: [direct('if (pending) noteOutcome(this, pending, error);', '')],
    killedBy: randomFaults(60, ...MESSAGES),
  },
  {
    name: 'the next page begins with the last key of this one',
    reason: 'off by one',
    patches: [scanRange('Buffer.concat([key, Buffer.from([0])])', 'key')],
    killedBy: randomFaults(20),
  },
];
