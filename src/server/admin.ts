/** Requests of operators: who belongs to the cluster, and who leads it. */
import type { Timers } from '../env/env.js';
import { parseAddress } from '../env/env.js';
import { errorMessage, RaftreeError } from '../env/errors.js';
import { errorReply, isErrorCode } from '../protocol/error-codes.js';
import type { MessageOf, OutboundMessage } from '../protocol/messages.js';
import { type Configuration, isJoint, type MemberChange, membersOf } from '../raft/configuration.js';
import type { Role } from '../raft/types.js';
import { decodeNote, encodeNote } from './members.js';

export type AdminRequest = MessageOf<'changeMembers'> | MessageOf<'transferLeader'>;

/** What it needs of the replica. */
export interface AdminReplica {
  readonly role: Role;
  readonly configuration: Configuration;
  readonly settledConfiguration: number;
  changeConfiguration(
    change: { changes: readonly MemberChange[]; transition: 'auto' },
    expectedIndex: number | undefined,
  ): Promise<{ readonly index: number }>;
  transferLeadership(to: number): Promise<void>;
}

/** How long a change may take to settle, once it is applied, before its outcome is said to be unknown. */
const PATIENCE_MS = 10_000;
const LOOK_AGAIN_MS = 20;

export class Admin {
  readonly #replica: AdminReplica;
  readonly #timers: Timers;
  readonly #failure: (requestId: number, error: unknown) => OutboundMessage;
  readonly #storeIdOf: (node: number) => string | undefined;

  /** `storeIdOf`: the data folder that a node which is connected, and may belong here, has shown. */
  constructor(
    replica: AdminReplica,
    timers: Timers,
    failure: (requestId: number, error: unknown) => OutboundMessage,
    storeIdOf: (node: number) => string | undefined,
  ) {
    this.#storeIdOf = storeIdOf;
    this.#replica = replica;
    this.#timers = timers;
    this.#failure = failure;
  }

  /** Never rejects. */
  async handle(request: AdminRequest): Promise<OutboundMessage> {
    try {
      if (request.type === 'transferLeader') {
        await this.#replica.transferLeadership(request.nodeId);
        return { type: 'done', requestId: request.requestId, index: 0 };
      }
      this.#checkAddresses(request);
      const { index } = await this.#replica.changeConfiguration(
        { changes: request.changes.map((change) => this.#toChange(change)), transition: 'auto' },
        request.expectedIndex,
      );
      await this.#settled(index);
      return { type: 'done', requestId: request.requestId, index };
    } catch (error) {
      if (error instanceof RaftreeError && error.code === 'INVALID_REQUEST') {
        return errorReply(request.requestId, 'INVALID_REQUEST', error.message);
      }
      if (error instanceof RaftreeError && isErrorCode(error.code) && error.code !== 'NOT_LEADER') {
        return errorReply(request.requestId, error.code, error.message);
      }
      return this.#failure(request.requestId, error);
    }
  }

  /**
   * Resolves when a quorum of the new members knows durably that the change is in force: whoever was removed may then be
   * stopped, and all others restarted. A joint change has settled when it is left.
   */
  async #settled(index: number): Promise<void> {
    const replica = this.#replica;
    const isSettled = () => replica.settledConfiguration >= index && !isJoint(replica.configuration);
    for (let waitedMs = 0; !isSettled(); waitedMs += LOOK_AGAIN_MS) {
      if (replica.role !== 'leader' || waitedMs >= PATIENCE_MS) {
        throw new RaftreeError(
          'LEADERSHIP_LOST',
          'the change took effect here, but it is not known whether the others know it for good: ' +
            'stop no removed node before `member list` of another leader agrees',
          { info: { outcome: 'unknown' } },
        );
      }
      await new Promise<void>((resolve) => this.#timers.after(LOOK_AGAIN_MS, resolve));
    }
  }

  /** Nobody could reach a new member without addresses: a mistyped id must not become a voter that never answers. */
  #checkAddresses({ changes }: MessageOf<'changeMembers'>): void {
    // Whoever does not lead may not know the members; it refuses anyway.
    if (this.#replica.role !== 'leader') return;
    const members = membersOf(this.#replica.configuration);
    for (const { type, nodeId, clientAddress } of changes) {
      if (type === 'remove' || clientAddress !== '' || members.includes(nodeId)) continue;
      throw new RaftreeError('CHANGE_INVALID', `node ${nodeId} is no member: a new one needs its addresses`, {
        info: { outcome: 'notCommitted' },
      });
    }
  }

  #toChange(change: AdminRequestChange): MemberChange {
    const { type, nodeId, clientAddress, peerAddress } = change;
    if (nodeId === 0) throw invalid('0 is no node');
    if (type === 'remove') return { type, node: nodeId };
    const noted = decodeNote(this.#replica.configuration.notes[nodeId]);
    // A present member keeps its data folder; of one that was added before it was connected it is noted now.
    const storeId = noted.storeId ?? this.#storeIdOf(nodeId);
    // Without addresses the member keeps those it has: a learner that becomes a voter.
    if (clientAddress === '' && peerAddress === '') {
      return storeId === noted.storeId
        ? { type, node: nodeId }
        : { type, node: nodeId, note: encodeNote({ ...noted, storeId }) };
    }
    for (const address of [clientAddress, peerAddress]) {
      try {
        parseAddress(address);
      } catch (error) {
        throw invalid(errorMessage(error));
      }
    }
    return { type, node: nodeId, note: encodeNote({ client: clientAddress, peer: peerAddress, storeId }) };
  }
}

type AdminRequestChange = MessageOf<'changeMembers'>['changes'][number];

function invalid(message: string): RaftreeError {
  return new RaftreeError('INVALID_REQUEST', message, { info: { outcome: 'notCommitted' } });
}
