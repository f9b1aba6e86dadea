/**
 * The table of `top`: what the answers of a node mean, and how that is shown. It is one table, or on less than
 * WIDE_COLUMNS two of 80 columns at most.
 */

import type { NodeLoad } from '../../client/client.js';
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
  /** Of the node's last seconds, as it measured them; undefined: there was none. */
  readonly commitP50Ms?: number | undefined;
  readonly commitP99Ms?: number | undefined;
  readonly applyP50Ms?: number | undefined;
  readonly applyP99Ms?: number | undefined;
  readonly syncP50Ms?: number | undefined;
  readonly syncP99Ms?: number | undefined;
  /** How late a timer of its event loop ran at most. */
  readonly loopDelayMs?: number | undefined;
  /** By its log and its storage engines. */
  readonly writtenBytesPerSecond?: number | undefined;
  readonly freeBytes?: number | undefined;
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
      ...timesOf(load),
      writtenBytesPerSecond: perSecond((answer) => answer.load.writtenBytes),
      freeBytes: load.freeBytes,
    };
  });
}

function timesOf({ commit, apply, sync, loopDelayUs }: NodeLoad) {
  const ms = (us: number | undefined) => (us === undefined ? undefined : us / 1000);
  return {
    ...{ commitP50Ms: ms(commit?.p50Us), commitP99Ms: ms(commit?.p99Us) },
    ...{ applyP50Ms: ms(apply?.p50Us), applyP99Ms: ms(apply?.p99Us) },
    ...{ syncP50Ms: ms(sync?.p50Us), syncP99Ms: ms(sync?.p99Us) },
    loopDelayMs: ms(loopDelayUs),
  };
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

interface Column {
  readonly title: string;
  /** Of the longest text below it. */
  readonly width: number;
  readonly shown: (row: NodeRow) => string;
}

const NODE: Column = { title: 'node', width: 4, shown: ({ nodeId }) => String(nodeId) };

/** What the node does. */
const WORK: readonly Column[] = [
  NODE,
  { title: 'role', width: 9, shown: ({ role = '' }) => (role === 'preCandidate' ? 'candidate' : role) },
  { title: 'term', width: 5, shown: ({ term }) => String(term) },
  { title: 'read/s', width: 6, shown: (row) => compact(row.readsPerSecond) },
  { title: 'write/s', width: 7, shown: (row) => compact(row.writesPerSecond) },
  { title: 'behind', width: 6, shown: (row) => compact(row.behindEntries) },
  { title: 'to apply', width: 8, shown: (row) => compact(row.unappliedEntries) },
  { title: 'p50 ms', width: 6, shown: (row) => milliseconds(row.answerP50Ms) },
  { title: 'p99 ms', width: 6, shown: (row) => milliseconds(row.answerP99Ms) },
  { title: 'mem', width: 5, shown: (row) => bytes(row.residentBytes) },
  { title: 'cpu', width: 4, shown: (row) => share(row.processorShare) },
];

/** How long it takes for that, and its disk. */
const TIMES: readonly Column[] = [
  { title: 'commit ms', width: 11, shown: (row) => pair(row.commitP50Ms, row.commitP99Ms) },
  { title: 'apply ms', width: 11, shown: (row) => pair(row.applyP50Ms, row.applyP99Ms) },
  { title: 'sync ms', width: 11, shown: (row) => pair(row.syncP50Ms, row.syncP99Ms) },
  { title: 'sync/s', width: 6, shown: (row) => compact(row.syncsPerSecond) },
  { title: 'disk/s', width: 6, shown: (row) => bytes(row.writtenBytesPerSecond) },
  { title: 'free', width: 5, shown: (row) => bytes(row.freeBytes) },
  { title: 'loop ms', width: 7, shown: (row) => milliseconds(row.loopDelayMs) },
];

const widthOf = (columns: readonly Column[]) => columns.reduce((sum, { width }) => sum + width + 1, -1);
/** From this width on there is one table; below it, two. */
export const WIDE_COLUMNS: number = widthOf([...WORK, ...TIMES]);

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
  const tables =
    columns >= WIDE_COLUMNS
      ? [tableOf([...WORK, ...TIMES], rows)]
      : [
          tableOf(WORK, rows),
          [
            '',
            ...tableOf(
              [NODE, ...TIMES],
              rows.filter(({ answers }) => answers),
            ),
          ],
        ];
  return [head, '', ...tables.flat(), ...failed].map((line) => {
    const characters = [...line.replace(/\p{Cc}/gu, '?').trimEnd()];
    return characters.length > columns
      ? `${characters.slice(0, columns - 1).join('')}…`
      : characters.join('');
  });
}

function tableOf(columns: readonly Column[], rows: readonly NodeRow[]): string[] {
  const lineOf = (texts: readonly string[]) =>
    texts.map((text, i) => text.padEnd(columns[i]?.width ?? 0)).join(' ');
  return [columns.map(({ title }) => title), ...rows.map((row) => cellsOf(row, columns))].map(lineOf);
}

function cellsOf(row: NodeRow, columns: readonly Column[]): string[] {
  if (row.answers) return columns.map(({ shown }) => shown(row));
  const heard = row.role === 'leader' || row.heardMsAgo === undefined ? '' : `; heard ${ago(row.heardMsAgo)}`;
  const why = row.problem === '' ? '' : `: ${row.problem}`;
  return [String(row.nodeId), `no answer from ${row.clientAddress}${heard}${why}`];
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

/** p50 and p99. */
function pair(p50Ms: number | undefined, p99Ms: number | undefined): string {
  return p50Ms === undefined ? '-' : `${milliseconds(p50Ms)}/${milliseconds(p99Ms)}`;
}

function bytes(count: number | undefined): string {
  return count === undefined ? '-' : compact(Math.round(count));
}

function share(of: number | undefined): string {
  return of === undefined ? '-' : `${Math.round(of * 100)}%`;
}
