/**
 * The membership of a group as one replica knows it. It lives in one place: the configuration at the log's base and
 * the configuration entries after it; an entry takes effect when it is *applied*. Until then it is only remembered,
 * because two things depend on it: nobody campaigns with a committed change that it has not applied (two leaders in
 * one term, etcd #456), and a leader proposes no change while another is on its way (raft-dev, 2015).
 */
import { RaftreeError } from '../env/errors.js';
import { applyChange, type Configuration, type ConfigurationChange } from './configuration.js';

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

  truncatedFrom(index: number): void {
    this.#pending = this.#pending.filter((pending) => pending.index < index);
  }

  /** Whether a change lies in (after, through]. */
  hasPending(after: number, through: number): boolean {
    return this.#pending.some(({ index }) => index > after && index <= through);
  }

  get lastPendingIndex(): number {
    return this.#pending.at(-1)?.index ?? 0;
  }

  /**
   * Takes over the changes up to an applied index; returns whether the configuration is another one now. A change that is
   * not allowed where it landed changes nothing, on every replica alike.
   */
  applied(index: number): boolean {
    const before = this.#configuration;
    while ((this.#pending[0]?.index ?? Number.POSITIVE_INFINITY) <= index) {
      const pending = this.#pending.shift();
      if (!pending) break;
      try {
        this.#configuration = applyChange(this.#configuration, pending.change);
      } catch (error) {
        if (!(error instanceof RaftreeError)) throw error;
      }
    }
    return this.#configuration !== before;
  }

  /** A snapshot brought the configuration of its index. */
  restored(index: number, configuration: Configuration): void {
    this.#configuration = configuration;
    this.#pending = this.#pending.filter((pending) => pending.index > index);
  }
}
