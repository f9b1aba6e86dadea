/**
 * Takes the steps of the cluster's birth (birth.ts) as they fall due, each durable before the next. When the cluster is
 * born, its tablets begin.
 */
import type { Logger } from '../env/env.js';
import type { Birth, BirthState } from './birth.js';
import type { NodeConfig } from './config.js';
import type { FolderIdentity } from './identity.js';
import type { KnownPeers } from './known-peers.js';

export interface BirthStepsParts {
  readonly config: NodeConfig;
  readonly logger: Logger;
  readonly birth: Birth;
  readonly identity: FolderIdentity;
  readonly known: KnownPeers;
  /** Makes the tablets durable that the Raft log does not hold. */
  readonly createTablets: (born: BirthState) => Promise<void>;
  readonly openTablets: (born: BirthState, restarted: boolean) => Promise<void>;
  /** Sends this node's announcement again: it has changed. */
  readonly announce: () => void;
  readonly isClosing: () => boolean;
  readonly failed: (error: unknown) => void;
}

export class BirthSteps {
  readonly #parts: BirthStepsParts;
  #advancing: Promise<void> = Promise.resolve();
  #waitsFor = '';
  #closed = false;

  constructor(parts: BirthStepsParts) {
    this.#parts = parts;
  }

  /** `isStored`: the Raft log holds the first tablet. Rejects as the steps do. */
  async start(isStored: boolean): Promise<void> {
    const { birth, identity, known, openTablets } = this.#parts;
    if (!isStored || !birth.isBorn) {
      await this.#advance();
      return;
    }
    if (identity.birth.phase !== 'born') {
      known.begin([]);
      identity.record({ birth: birth.state });
    }
    await openTablets(birth.state, true);
  }

  /** Another node has announced itself, or the doors are open: steps may have fallen due. */
  announced(): void {
    if (this.#closed) return;
    this.#advancing = this.#advancing
      .then(() => this.#advance())
      .catch((error: unknown) => this.#parts.failed(error));
  }

  /** Takes no more steps; resolves when the last one is done. */
  close(): Promise<void> {
    this.#closed = true;
    return this.#advancing;
  }

  async #advance(): Promise<void> {
    const { birth, identity, announce, isClosing } = this.#parts;
    for (let next = birth.due(); next && !isClosing(); next = birth.due()) {
      if (next.phase === 'born') await this.#beBorn(next);
      else {
        identity.record({ birth: next });
        birth.enter(next);
      }
      announce();
    }
    if (!birth.isBorn) this.#reportWait();
  }

  async #beBorn(next: BirthState): Promise<void> {
    const { config, logger, birth, identity, known, createTablets, openTablets } = this.#parts;
    const { incarnation, founders } = next;
    // The identity must know the incarnation before the log does.
    if (birth.incarnation === '') identity.record({ birth: { ...next, phase: 'adopted' } });
    await createTablets(next);
    known.begin(founders.filter(({ id }) => id !== config.nodeId));
    identity.record({ birth: next });
    birth.enter(next);
    await openTablets(next, false);
    logger.info({ incarnation }, 'this node belongs to its cluster from now on');
  }

  #reportWait(): void {
    const { config, logger, birth } = this.#parts;
    const { problem, missing } = birth;
    const what =
      problem ??
      (config.join
        ? 'waiting for a member of the cluster that this node joins'
        : missing.length > 0
          ? `waiting for all first members to meet: node ${missing.join(', ')} is not there yet`
          : 'all first members have met; waiting for them to agree');
    if (what === this.#waitsFor) return;
    this.#waitsFor = what;
    if (problem) logger.error({}, what);
    else logger.info({}, what);
  }
}
