/**
 * The membership as one replica knows it: the configuration at the log's base plus the configuration entries after it.
 * An entry takes effect when it is *applied*. Until then it is remembered, for two rules. A node with an unapplied
 * committed change does not campaign (otherwise one term may have two leaders, etcd #456). And a leader proposes no
 * change while another one is pending (raft-dev, 2015).
 */
import { RaftreeError } from '../env/errors.js';
import { applyChange, type Configuration, type ConfigurationChange } from './configuration.js';
import type { NodeId } from './types.js';

interface PendingChange {
  readonly index: number;
  readonly change: ConfigurationChange;
}

export class Membership {
  #configuration: Configuration;
  /** Changes in the log that are not applied, ordered by index. */
  #pending: PendingChange[] = [];

  constructor(configuration: Configuration) {
    this.#configuration = configuration;
  }

  get configuration(): Configuration {
    return this.#configuration;
  }

  /** An entry with this change was appended to the log. */
  appended(index: number, change: ConfigurationChange): void {
    this.#pending.push({ index, change });
  }

  /** Whether an unapplied change in the log concerns this node. */
  names(node: NodeId): boolean {
    return this.#pending.some(({ change }) => change.changes.some((each) => each.node === node));
  }

  truncatedFrom(index: number): void {
    this.#pending = this.#pending.filter((pending) => pending.index < index);
  }

  /** Whether a change lies in (after, through]. */
  hasPending(after: number, through: number): boolean {
    return this.#pending.some(({ index }) => index > after && index <= through);
  }

  /**
   * Whether no other node has a vote, in the configuration in force and after every unapplied change in the log: a
   * change that is not applied here may be in force elsewhere.
   */
  isAlone(node: NodeId): boolean {
    let configuration = this.#configuration;
    for (const { index, change } of this.#pending) {
      if (!isOnlyVoter(configuration, node)) return false;
      configuration = changedBy(configuration, index, change);
    }
    return isOnlyVoter(configuration, node);
  }

  get lastPendingIndex(): number {
    return this.#pending.at(-1)?.index ?? 0;
  }

  /** Applies the changes up to an applied index. Returns whether the configuration has changed. */
  applied(index: number): boolean {
    const before = this.#configuration;
    while ((this.#pending[0]?.index ?? Number.POSITIVE_INFINITY) <= index) {
      const pending = this.#pending.shift();
      if (pending) this.#configuration = changedBy(this.#configuration, pending.index, pending.change);
    }
    return this.#configuration !== before;
  }

  /** A snapshot brought its configuration and replaced the log with all changes in it. */
  restored(configuration: Configuration): void {
    this.#configuration = configuration;
    this.#pending = [];
  }
}

function isOnlyVoter({ voters, outgoing }: Configuration, node: NodeId): boolean {
  return [...voters, ...outgoing].every((voter) => voter === node) && voters.length > 0;
}

/** The configuration after a change. A change that is not allowed changes nothing, on every replica alike. */
export function changedBy(
  configuration: Configuration,
  index: number,
  change: ConfigurationChange,
): Configuration {
  try {
    return { ...applyChange(configuration, change), index };
  } catch (error) {
    if (error instanceof RaftreeError) return configuration;
    throw error;
  }
}
