/**
 * The birth of a cluster. It happens once: an incarnation, made at random, tells this cluster from every other one of the
 * same name, and from an earlier one whose data folders were emptied. Nobody votes before it is born.
 *
 *     untouched --> proposed --> born      the founder with the lowest id
 *     untouched --> adopted  --> born      the other founders
 *     untouched ---------------> born      who joins (node.json: join) a cluster that was born
 *
 * The lowest founder proposes an incarnation when all founders are there and none is born; the others adopt it; when all
 * have, it is born, and whoever has adopted is born when it hears that. Each step is durable before it is told.
 *
 * Why no two clusters mix, and no emptied folder takes part:
 *   - Born implies that the lowest founder heard `adopted` from all others. So a founder that finds its folder empty
 *     meets at least one other that is not untouched, unless all folders are empty, or nobody was ever born.
 *   - A founder adopts only what is proposed, and the lowest one proposes only while it hears all others, none of them
 *     born. Once it is born it proposes nothing any more: who is untouched then stays so, and votes for nobody.
 *   - An incarnation is adopted once, and what another one's nodes say is refused.
 *
 * A pure machine: the host persists `due()`, then calls `enter`.
 */

export type BirthPhase = 'untouched' | 'proposed' | 'adopted' | 'born';

export interface BirthState {
  readonly phase: BirthPhase;
  /** Empty while untouched; then 32 hexadecimal digits. */
  readonly incarnation: string;
}

export const UNTOUCHED: BirthState = { phase: 'untouched', incarnation: '' };

/** What nodes tell each other when they meet, and whenever it changes. */
export interface Announcement extends BirthState {
  /** The first members, as its node.json lists them, ordered. */
  readonly founders: readonly number[];
  /** It is no founder. */
  readonly joins: boolean;
}

export interface BirthOptions {
  readonly nodeId: number;
  /** The nodes that node.json lists. */
  readonly founders: readonly number[];
  readonly joins: boolean;
  readonly state: BirthState;
  /** 32 random hexadecimal digits. */
  readonly newIncarnation: () => string;
}

export class Birth {
  readonly #options: BirthOptions;
  readonly #founders: readonly number[];
  #state: BirthState;
  /** Of those that are connected. */
  readonly #heard = new Map<number, Announcement>();

  constructor(options: BirthOptions) {
    this.#options = options;
    this.#founders = [...options.founders].sort((a, b) => a - b);
    this.#state = options.state;
  }

  get state(): BirthState {
    return this.#state;
  }

  get announcement(): Announcement {
    return { ...this.#state, founders: this.#founders, joins: this.#options.joins };
  }

  get isBorn(): boolean {
    return this.#state.phase === 'born';
  }

  get incarnation(): string {
    return this.#state.incarnation;
  }

  /** The founders that this node waits for. */
  get missing(): number[] {
    return this.#others.filter((id) => !this.#heard.has(id));
  }

  /** Why this node has no part in the cluster that it found; undefined if it may still have. */
  get problem(): string | undefined {
    if (this.#state.phase !== 'untouched' || this.#options.joins) return undefined;
    const [id] = [...this.#heard].find(([, { phase }]) => phase === 'born') ?? [];
    if (id === undefined) return undefined;
    return (
      `node ${id} belongs to a cluster that has begun already, but the data folder of this node is empty; ` +
      'to join, set "join": true in node.json and run `raftree member add`; a node that lost its data folder ' +
      'is removed first (`raftree member remove`) and added under a new id'
    );
  }

  /** Takes what another node announces. Returns why the two must not speak to each other, or undefined. */
  heard(from: number, said: Announcement): string | undefined {
    const { incarnation } = this.#state;
    if (said.incarnation !== '' && incarnation !== '' && said.incarnation !== incarnation) {
      return (
        `node ${from} belongs to another cluster of the same name: its incarnation is ${said.incarnation}, ` +
        `here it is ${incarnation}; correct the addresses or the clusterId in node.json`
      );
    }
    const isFounding = said.phase !== 'born' && !this.isBorn && !said.joins && !this.#options.joins;
    if (isFounding && said.founders.join() !== this.#founders.join()) {
      return (
        `node ${from} lists nodes ${said.founders.join(', ')} as the first members, this node lists ` +
        `${this.#founders.join(', ')}; make "nodes" the same in every node.json`
      );
    }
    this.#heard.set(from, said);
    return undefined;
  }

  left(node: number): void {
    this.#heard.delete(node);
  }

  /** The next state, to be made durable before it is entered; undefined if there is none yet. */
  due(): BirthState | undefined {
    if (this.isBorn) return undefined;
    const { phase, incarnation } = this.#state;
    const all = [...this.#heard.values()];
    const met = all.find((said) => said.phase === 'born');
    if (met) {
      const mayFollow = met.incarnation === incarnation || this.#options.joins;
      return mayFollow ? { phase: 'born', incarnation: met.incarnation } : undefined;
    }
    if (this.#options.joins) return undefined;
    const others = this.#others.map((id) => this.#heard.get(id));
    if (this.#founders[0] !== this.#options.nodeId) {
      const [first] = others;
      return phase === 'untouched' && first?.phase === 'proposed'
        ? { phase: 'adopted', incarnation: first.incarnation }
        : undefined;
    }
    if (others.includes(undefined)) return undefined;
    if (phase === 'proposed' || others.length === 0) {
      const isAgreed = others.every((said) => said?.phase === 'adopted' && said.incarnation === incarnation);
      return isAgreed
        ? { phase: 'born', incarnation: incarnation || this.#options.newIncarnation() }
        : undefined;
    }
    // Some may have adopted what this node proposed before its folder was emptied; nobody was born then.
    const adopted = new Set(others.flatMap((said) => (said?.incarnation ? [said.incarnation] : [])));
    const [before = this.#options.newIncarnation()] = adopted;
    return adopted.size > 1 ? undefined : { phase: 'proposed', incarnation: before };
  }

  /** It is durable. */
  enter(state: BirthState): void {
    this.#state = state;
  }

  get #others(): number[] {
    return this.#founders.filter((id) => id !== this.#options.nodeId);
  }
}
