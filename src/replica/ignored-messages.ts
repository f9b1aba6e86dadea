/** Counts and logs the messages that the core ignored, so that an operator learns of a damaged or foreign node. */
import type { Clock, Logger } from '../env/env.js';
import { OnceAMinute } from '../env/once-a-minute.js';
import { isAnswer } from '../raft/senders.js';
import type { MessageRefusal, NodeId } from '../raft/types.js';
import type { ReplicaMessage } from './snapshot-messages.js';

const BECAUSE: Readonly<Record<Exclude<MessageRefusal, 'notLeader'>, string>> = {
  stranger: 'it is no member as far as this node knows; stop it, or add it with `raftree member add`',
  termTooFar:
    'no cluster reaches such a term; that node is damaged, or it is none of ours: stop it, and look who reaches the peer port',
  secondLeader:
    'it leads a term in which another node leads. Two leaders in one term are two histories: stop it, and look whether a data ' +
    'folder was copied or restored',
  malformed: 'it contradicts itself; that node is damaged, or it is none of ours',
};

export class IgnoredMessages {
  readonly #logger: Logger;
  readonly #due: OnceAMinute;
  #count = 0;

  constructor(clock: Clock, logger: Logger) {
    this.#logger = logger;
    this.#due = new OnceAMinute(clock);
  }

  /** Since the start, but for late messages of former leaders. */
  get count(): number {
    return this.#count;
  }

  /** Logs once a minute per node and reason, however often such messages come. */
  add(from: NodeId, { type, term }: ReplicaMessage, refusal: MessageRefusal, ownTerm: number): void {
    // A late message of a former leader is normal.
    if (refusal === 'notLeader') return;
    this.#count++;
    if (!this.#due.isDue(`${from} ${refusal} ${isAnswer(type)}`)) return;
    const fields = { from, type, term, refusal, ownTerm, refusedMessages: this.#count };
    const text = `a message of node ${from} does not count: ${BECAUSE[refusal]}`;
    // Answers of a removed node may still arrive.
    if (refusal === 'stranger' && isAnswer(type)) this.#logger.debug(fields, text);
    else if (refusal === 'stranger') this.#logger.warn(fields, text);
    else this.#logger.error(fields, text);
  }
}
