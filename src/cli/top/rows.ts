/** The table of `top`: what the answers of a node mean, and how that is shown within 80 columns. */
import { ago, leaderOf, standingOf } from '../cluster-view.js';
import type { Answer, PolledNode } from './poll.js';

/** A node that does not answer has only what is known of it. */
export interface NodeRow {
  readonly nodeId: number;
  readonly clientAddress: string;
  readonly membership: string;
  readonly answers: boolean;
  /** Time since the leader heard from it. */
  readonly heardMsAgo: number | undefined;
  readonly problem: string;
  readonly role?: string;
  readonly term?: number;
  readonly leaderId?: number;
  /** Requests that it carried out; undefined with one answer alone. */
  readonly readsPerSecond?: number | undefined;
  readonly writesPerSecond?: number | undefined;
  /** Durable writes of the log. */
  readonly syncsPerSecond?: number | undefined;
  readonly pendingRequests?: number;
  /** Entries of the leader's log that it does not hold; undefined without a leader. */
  readonly behindEntries?: number | undefined;
  /** Entries that are committed, as it knows, and not applied. */
  readonly unappliedEntries?: number;
  readonly keysApproximate?: number;
  /** How long its last answers to a question took, from here. */
  readonly answerP50Ms?: number;
  readonly answerP99Ms?: number;
  readonly residentBytes?: number;
  /** Of one processor, in the last time; 1: all of it. */
  readonly processorShare?: number | undefined;
  readonly failedGroups?: number;
}

export function rowsOf(nodes: readonly PolledNode[]): NodeRow[] {
  const leader = leaderOf(nodes.map(({ seen }) => seen));
  return nodes.map(({ seen, last, before, timesMs }) => {
    const { heardMsAgo, problem } = standingOf(seen, leader);
    const { nodeId, clientAddress, membership } = seen;
    const known = { nodeId, clientAddress, membership, heardMsAgo, problem };
    if (!last) return { ...known, answers: false };
    const { status, load, atMs } = last;
    const perMs = (of: (answer: Answer) => number) =>
      before && atMs > before.atMs ? Math.max(0, of(last) - of(before)) / (atMs - before.atMs) : undefined;
    const perSecond = (of: (answer: Answer) => number) => {
      const rate = perMs(of);
      return rate === undefined ? undefined : rate * 1000;
    };
    const held = leader?.nodeId === nodeId ? leader.lastIndex : matchOf(leader, nodeId);
    return {
      ...{ ...known, answers: true },
      ...{ role: status.role, term: status.term, leaderId: status.leaderId },
      readsPerSecond: perSecond((answer) => answer.load.reads),
      writesPerSecond: perSecond((answer) => answer.load.writes),
      syncsPerSecond: perSecond((answer) => answer.status.logSyncs),
      pendingRequests: load.pendingRequests,
      behindEntries: leader && held !== undefined ? Math.max(0, leader.lastIndex - held) : undefined,
      unappliedEntries: Math.max(0, status.commitIndex - status.appliedIndex),
      keysApproximate: status.keysApproximate,
      ...{ answerP50Ms: quantile(timesMs, 0.5), answerP99Ms: quantile(timesMs, 0.99) },
      residentBytes: load.residentBytes,
      processorShare: perMs((answer) => answer.load.processorMs),
      failedGroups: status.failedGroups.length,
    };
  });
}

function matchOf(
  leader: { readonly peers: readonly { readonly nodeId: number; readonly matchIndex: number }[] } | undefined,
  nodeId: number,
): number | undefined {
  return leader?.peers.find((peer) => peer.nodeId === nodeId)?.matchIndex;
}

/** The smallest value that so many of all are at most. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? 0;
}

/** Titles, and the width of the longest text below each. */
const COLUMNS = [
  ['node', 4],
  ['role', 9],
  ['term', 5],
  ['read/s', 6],
  ['write/s', 7],
  ['sync/s', 6],
  ['behind', 6],
  ['apply', 5],
  ['p50 ms', 6],
  ['p99 ms', 6],
  ['mem', 5],
  ['cpu', 4],
] as const;

/** Lines of at most `columns` characters, without control characters. */
export function linesOf(rows: readonly NodeRow[], columns: number): string[] {
  const leader = rows.find(({ role }) => role === 'leader');
  const answering = rows.filter(({ answers }) => answers).length;
  const head = [
    `${answering} of ${rows.length} nodes answer`,
    leader ? `node ${leader.nodeId} leads, term ${leader.term}` : 'no leader',
    ...(leader ? [`~${compact(leader.keysApproximate)} keys`] : []),
  ].join(' · ');
  const failed = rows.flatMap(({ nodeId, failedGroups = 0 }) =>
    failedGroups > 0 ? [`node ${nodeId}: ${failedGroups} of its groups failed: see "raftree status"`] : [],
  );
  const titles = COLUMNS.map(([title, width]) => title.padEnd(width)).join(' ');
  return [head, '', titles, ...rows.map(lineOf), ...failed].map((line) => {
    const characters = [...line.replace(/\p{Cc}/gu, '?').trimEnd()];
    return characters.length > columns
      ? `${characters.slice(0, columns - 1).join('')}…`
      : characters.join('');
  });
}

function lineOf(row: NodeRow): string {
  const heard = row.role === 'leader' || row.heardMsAgo === undefined ? '' : `; heard ${ago(row.heardMsAgo)}`;
  const why = row.problem === '' ? '' : `: ${row.problem}`;
  const cells = row.answers
    ? [
        ...[
          String(row.nodeId),
          row.role === 'preCandidate' ? 'candidate' : (row.role ?? ''),
          String(row.term),
        ],
        ...[compact(row.readsPerSecond), compact(row.writesPerSecond), compact(row.syncsPerSecond)],
        ...[compact(row.behindEntries), compact(row.unappliedEntries)],
        ...[milliseconds(row.answerP50Ms), milliseconds(row.answerP99Ms)],
        ...[bytes(row.residentBytes), share(row.processorShare)],
      ]
    : [String(row.nodeId), `no answer from ${row.clientAddress}${heard}${why}`];
  return cells.map((cell, i) => cell.padEnd(COLUMNS[i]?.[1] ?? 0)).join(' ');
}

/** At most five characters. */
export function compact(count: number | undefined): string {
  if (count === undefined) return '-';
  if (count < 9.95 && !Number.isInteger(count)) return count.toFixed(1);
  let value = count;
  for (const unit of ['', 'k', 'M', 'G', 'T']) {
    if (value < 999.5)
      return unit === '' || value >= 99.5 ? `${Math.round(value)}${unit}` : `${value.toFixed(1)}${unit}`;
    value /= 1000;
  }
  return 'many';
}

function milliseconds(ms: number | undefined): string {
  if (ms === undefined) return '-';
  return ms < 99.95 ? ms.toFixed(1) : String(Math.round(ms));
}

function bytes(count: number | undefined): string {
  return count === undefined ? '-' : compact(Math.round(count));
}

function share(of: number | undefined): string {
  return of === undefined ? '-' : `${Math.round(of * 100)}%`;
}
