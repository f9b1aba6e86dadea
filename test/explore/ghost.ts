/**
 * What nobody in the world knows, and the rules are judged by: what was ever committed, who led which term, and what
 * each read that waits for its answer must see. Every rule returns the sentence that says how it was broken.
 */
import type { Entry } from '../../src/raft/types.js';
import { FIRST_INDEX, type Host } from './host.js';

export interface Ghost {
  /** Entry i is at i - FIRST_INDEX, with the term in which it was first known to be committed. */
  readonly committed: readonly { readonly entry: Entry; readonly inTerm: number }[];
  readonly leaders: readonly { readonly term: number; readonly node: number }[];
  readonly reads: readonly { readonly node: number; readonly id: number; readonly mustSee: number }[];
}

export const NOTHING_YET: Ghost = { committed: [], leaders: [], reads: [] };

/** What one turn of one node adds to it. */
export interface Facts {
  readonly node: number;
  readonly term: number;
  /** It forgot what it was asked to read. */
  readonly hasRestarted: boolean;
  /** It was asked to read. */
  readonly asked: number | undefined;
  /** It knows these to be committed now, from `first` on. */
  readonly committed: { readonly first: number; readonly entries: readonly Entry[] } | undefined;
  /** It began to lead a term, with this log. */
  readonly elected: { readonly term: number; readonly log: readonly Entry[] } | undefined;
  readonly reads: readonly { readonly id: number; readonly index: number }[];
  readonly failedReads: readonly number[];
}

export function saysNothing(facts: Facts): boolean {
  const { hasRestarted, asked, committed, elected, reads, failedReads } = facts;
  return (
    !hasRestarted &&
    asked === undefined &&
    !committed &&
    !elected &&
    reads.length === 0 &&
    failedReads.length === 0
  );
}

export function isSameEntry(one: Entry, other: Entry): boolean {
  return (
    one === other ||
    (one.term === other.term && one.kind === other.kind && Buffer.compare(one.body, other.body) === 0)
  );
}

const named = ({ kind, term, body }: Entry) =>
  `${kind === 'command' ? `"${Buffer.from(body)}"` : kind} of term ${term}`;

/** The ghost after these facts, or the rule that they break. */
export function learnt(ghost: Ghost, facts: Facts): Ghost | string {
  const { node, asked, elected } = facts;
  let reads = facts.hasRestarted ? ghost.reads.filter((read) => read.node !== node) : ghost.reads;
  if (asked !== undefined) {
    reads = [...reads, { node, id: asked, mustSee: ghost.committed.length + FIRST_INDEX - 1 }];
  }
  let { leaders } = ghost;
  if (elected) {
    const rival = leaders.find(({ term }) => term === elected.term);
    if (rival && rival.node !== node) {
      return `election safety: node ${node} leads term ${elected.term}, which node ${rival.node} led`;
    }
    for (const [at, { entry, inTerm }] of ghost.committed.entries()) {
      const own = elected.log[at];
      if (inTerm > elected.term || (own && isSameEntry(own, entry))) continue;
      return `leader completeness: node ${node} leads term ${elected.term} without the committed entry ${at + FIRST_INDEX} (${named(entry)})`;
    }
    if (!rival) leaders = [...leaders, { term: elected.term, node }];
  }
  const committed = committedWith(ghost.committed, facts);
  if (typeof committed === 'string') return committed;
  for (const { id, index } of facts.reads) {
    const read = reads.find((each) => each.node === node && each.id === id);
    if (!read) return `a read was answered that node ${node} was not asked for`;
    if (index < read.mustSee) {
      return `linearizable reads: node ${node} reads at ${index}, but ${read.mustSee} was committed when it was asked`;
    }
  }
  const ended = (id: number) => facts.reads.some((read) => read.id === id) || facts.failedReads.includes(id);
  reads = reads.filter((read) => read.node !== node || !ended(read.id));
  return { committed, leaders, reads };
}

/** Whoever leads a later term has what is committed now, or it was elected without it. */
export function incomplete({ node, term, committed }: Facts, other: Host): string | undefined {
  if (!committed || other.core.role !== 'leader' || other.core.term <= term) return undefined;
  const first = committed.first - FIRST_INDEX;
  const missing = committed.entries.findIndex((entry, at) => {
    const own = other.log[first + at];
    return !own || !isSameEntry(own, entry);
  });
  if (missing < 0) return undefined;
  return `leader completeness: node ${node} commits entry ${committed.first + missing} in term ${term}, which node ${other.id}, the leader of term ${other.core.term}, does not have`;
}

function committedWith(
  known: Ghost['committed'],
  { node, term, committed }: Facts,
): Ghost['committed'] | string {
  if (!committed) return known;
  const all = [...known];
  for (const [offset, entry] of committed.entries.entries()) {
    const at = committed.first - FIRST_INDEX + offset;
    const other = all[at]?.entry;
    if (other === undefined) all[at] = { entry, inTerm: term };
    else if (!isSameEntry(other, entry)) {
      return `state machine safety: node ${node} commits ${named(entry)} at ${at + FIRST_INDEX}, where ${named(other)} was committed`;
    }
  }
  return all;
}
