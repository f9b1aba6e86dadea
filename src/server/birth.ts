/**
 * The birth of a cluster. It happens once: an incarnation, made at random, tells this cluster from every other one of
 * the same name, and from an earlier one whose data folders were emptied. No node votes before the birth.
 *
 *     untouched --> proposed --> born      the founder with the lowest id
 *     untouched --> adopted  --> born      the other founders
 *     untouched ---------------> born      a node that joins (node.json: join) a cluster that was born
 *
 * When all founders are there and untouched, the lowest one proposes an incarnation, and with it which data folder
 * (store id) each of them has, and how the keys are placed. The others adopt it. When all have adopted, the lowest one
 * is born; the others are born when they hear that. Each step is durable before it is announced.
 *
 * Why no two clusters mix, and no emptied folder takes part:
 *   - Born implies that the lowest founder heard `adopted` from all others, each with the folder that it had
 *     proposed. A founder whose folder was emptied, or that runs twice, has another folder: it adopts nothing, no node
 *     listens to it, and it votes for no node.
 *   - The founders are durable with the first step. A node.json that lists others later is refused (`checkFounders`),
 *     and an incarnation is never proposed again for others.
 *   - Announcements of another incarnation are refused.
 *
 * A founder that loses its folder before the others are born stops the birth for good: nothing was written yet, so all
 * founders are emptied and started again (`problem` says so).
 *
 * A pure machine: the host persists `due()`, then calls `enter`.
 */
import { RaftreeError } from '../env/errors.js';
import {
  describePlacement,
  isKnownPlacement,
  isSamePlacement,
  ONE_TABLET,
  type Placement,
} from '../placement/placement.js';

export type BirthPhase = 'untouched' | 'proposed' | 'adopted' | 'born';

/** A first member, and its data folder. */
export interface Founder {
  readonly id: number;
  readonly storeId: string;
}

export interface BirthState {
  readonly phase: BirthPhase;
  /** Empty while untouched; then 32 hexadecimal digits. */
  readonly incarnation: string;
  /** Ordered by id. Empty while untouched, and for a node that joins. */
  readonly founders: readonly Founder[];
  /** What the cluster begins with. It does not count while untouched. */
  readonly placement: Placement;
}

export const UNTOUCHED: BirthState = {
  phase: 'untouched',
  incarnation: '',
  founders: [],
  placement: ONE_TABLET,
};

/** What nodes tell each other when they meet, and whenever it changes. */
export interface Announcement {
  readonly phase: BirthPhase;
  readonly incarnation: string;
  /** The first members, ordered; without store ids (empty) while it is untouched. */
  readonly founders: readonly Founder[];
  /** It is no founder. */
  readonly joins: boolean;
  readonly placement: Placement;
}

/** What a connected node announced, and the data folder that it showed in its hello. */
interface Heard extends Announcement {
  readonly storeId: string;
}

export interface BirthOptions {
  readonly nodeId: number;
  readonly storeId: string;
  /** The nodes that node.json lists. */
  readonly founders: readonly number[];
  readonly joins: boolean;
  /** What node.json says. Undefined: nothing, so that a node which joins takes what the cluster has. */
  readonly placement?: Placement | undefined;
  readonly state: BirthState;
  /** 32 random hexadecimal digits. */
  readonly newIncarnation: () => string;
}

export class Birth {
  readonly #options: BirthOptions;
  readonly #listed: readonly number[];
  #state: BirthState;
  /** Of connected nodes. */
  readonly #heard = new Map<number, Heard>();

  constructor(options: BirthOptions) {
    this.#options = options;
    this.#listed = [...options.founders].sort((a, b) => a - b);
    this.#state = options.state;
  }

  get state(): BirthState {
    return this.#state;
  }

  get announcement(): Announcement {
    const { phase, incarnation, founders } = this.#state;
    const listed = this.#listed.map((id) => ({ id, storeId: '' }));
    return {
      phase,
      incarnation,
      founders: phase === 'untouched' ? listed : founders,
      joins: this.#options.joins,
      placement: this.#placement,
    };
  }

  get #placement(): Placement {
    const { phase, placement } = this.#state;
    return phase === 'untouched' ? (this.#options.placement ?? ONE_TABLET) : placement;
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

  /** Why this node cannot take part in the cluster that it found. Undefined if it still can. */
  get problem(): string | undefined {
    if (this.#state.phase !== 'untouched' || this.#options.joins) return undefined;
    const [id] = [...this.#heard].find(([, { phase }]) => phase === 'born') ?? [];
    if (id === undefined) {
      const [other] = [...this.#heard].find(([, said]) => !said.joins && !this.#isNamedBy(said)) ?? [];
      if (other === undefined) return undefined;
      return (
        `node ${other} began the cluster with another data folder of node ${this.#options.nodeId}; nothing was written ` +
        'yet: stop all nodes that node.json lists, empty their data folders, and start each of them once'
      );
    }
    return (
      `node ${id} belongs to a cluster that has begun already, but the data folder of this node is empty; ` +
      'to join, set "join": true in node.json and run `raftree member add`; a node that lost its data folder ' +
      'is removed first (`raftree member remove`) and added again'
    );
  }

  /** Another node's announcement. Returns why the two nodes refuse each other, or undefined. */
  heard(from: number, storeId: string, said: Announcement): string | undefined {
    const { incarnation, founders } = this.#state;
    if (said.incarnation !== '' && incarnation !== '' && said.incarnation !== incarnation) {
      return (
        `node ${from} belongs to another cluster of the same name: its incarnation is ${said.incarnation}, ` +
        `here it is ${incarnation}; correct the addresses or the clusterId in node.json`
      );
    }
    if (!isKnownPlacement(said.placement))
      return `node ${from} divides its keys in a way that this version does not know; start the same version on all nodes`;
    const isFounding = said.phase !== 'born' && !this.isBorn && !said.joins && !this.#options.joins;
    const others = idsOf(said.founders);
    if (isFounding && others.join() !== this.#listed.join()) {
      return (
        `node ${from} lists nodes ${others.join(', ')} as the first members, this node lists ` +
        `${this.#listed.join(', ')}; make "nodes" the same in every node.json`
      );
    }
    const joinsIt = said.phase === 'born' && !this.isBorn && this.#options.joins && this.#options.placement;
    const own = this.#placement;
    // A node that joins may leave out how many replicas there are.
    const wanted = joinsIt && own.replicas === 0 ? { ...own, replicas: said.placement.replicas } : own;
    if ((isFounding || joinsIt) && !isSamePlacement(said.placement, wanted)) {
      const [theirs, here] = [said.placement, own].map(describePlacement);
      return joinsIt
        ? `the cluster of node ${from} has ${theirs}, and node.json of this node says ${here}; remove "placement" from it`
        : `node ${from} is to begin with ${theirs}, this node with ${here}; make "placement" the same in every node.json`;
    }
    const known = founders.find(({ id }) => id === from)?.storeId;
    if (!this.isBorn && known !== undefined && known !== storeId) {
      return `node ${from} shows another data folder than the one that the cluster begins with: was it emptied, or does it run twice?`;
    }
    this.#heard.set(from, { ...said, storeId });
    return undefined;
  }

  left(node: number): void {
    this.#heard.delete(node);
  }

  /** The next state, to be made durable before it is entered; undefined if there is none yet. */
  due(): BirthState | undefined {
    if (this.isBorn) return undefined;
    const { nodeId, joins } = this.#options;
    const { phase, incarnation, founders } = this.#state;
    const met = [...this.#heard.values()].find((said) => said.phase === 'born');
    if (joins)
      return met && { phase: 'born', incarnation: met.incarnation, founders: [], placement: met.placement };
    // The founders were proposed with the incarnation.
    if (met) return met.incarnation === incarnation ? { ...this.#state, phase: 'born' } : undefined;
    const others = this.#others.map((id) => this.#heard.get(id));
    if (this.#listed[0] !== nodeId) {
      const [first] = others;
      return phase === 'untouched' && first?.phase === 'proposed' && this.#isNamedBy(first)
        ? {
            phase: 'adopted',
            ...{ incarnation: first.incarnation, founders: first.founders, placement: first.placement },
          }
        : undefined;
    }
    const isAdopted = others.every((said) => said?.phase === 'adopted' && isSame(said.founders, founders));
    if (phase !== 'untouched') return isAdopted ? { ...this.#state, phase: 'born' } : undefined;
    if (!others.every((said) => said?.phase === 'untouched')) return undefined;
    const proposal = this.#listed.map((id) => ({ id, storeId: this.#storeOf(id) }));
    const placement = this.#placement;
    return { phase: 'proposed', incarnation: this.#options.newIncarnation(), founders: proposal, placement };
  }

  /** The state is durable. */
  enter(state: BirthState): void {
    this.#state = state;
  }

  get #others(): number[] {
    return this.#listed.filter((id) => id !== this.#options.nodeId);
  }

  #storeOf(id: number): string {
    return (id === this.#options.nodeId ? this.#options.storeId : this.#heard.get(id)?.storeId) ?? '';
  }

  /** Whether an announced birth, if it has begun, names this data folder for this node. */
  #isNamedBy({ phase, founders }: Announcement): boolean {
    const { nodeId, storeId } = this.#options;
    return (
      phase === 'untouched' ||
      founders.some((founder) => founder.id === nodeId && founder.storeId === storeId)
    );
  }
}

/**
 * Throws `IDENTITY_MISMATCH` if a birth has begun in this data folder with other first members than node.json lists
 * now.
 */
export function checkFounders(
  { phase, founders }: BirthState,
  listed: readonly number[],
  joins: boolean,
): void {
  const now = joins ? [] : [...listed].sort((a, b) => a - b);
  const before = idsOf(founders);
  if (phase === 'untouched' || phase === 'born' || before.join() === now.join()) return;
  throw new RaftreeError(
    'IDENTITY_MISMATCH',
    `this node has begun ${before.length > 0 ? `a cluster of nodes ${before.join(', ')}` : 'to join a cluster'}, but node.json ` +
      `now says ${now.length > 0 ? `nodes ${now.join(', ')}` : '"join": true'}; list them as before, or empty the data folders of ` +
      'all of them: nothing was written yet',
  );
}

/** Throws `IDENTITY_MISMATCH` if node.json says another placement than the one that the birth has begun with. */
export function checkPlacement({ phase, placement }: BirthState, configured: Placement | undefined): void {
  if (phase === 'untouched' || !configured || isSamePlacement(placement, configured)) return;
  throw new RaftreeError(
    'IDENTITY_MISMATCH',
    `this node's cluster began with ${describePlacement(placement)}, but node.json now says ` +
      `${describePlacement(configured)}; set "placement" as it was. To change it, begin a new cluster and move the ` +
      'data with `raftree export` and `raftree import`',
  );
}

function idsOf(founders: readonly Founder[]): number[] {
  return founders.map(({ id }) => id);
}

function isSame(some: readonly Founder[], others: readonly Founder[]): boolean {
  return (
    some.length === others.length &&
    some.every(({ id, storeId }, i) => others[i]?.id === id && others[i]?.storeId === storeId)
  );
}
