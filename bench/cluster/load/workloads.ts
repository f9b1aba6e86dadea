/** The workloads: which operations, in which proportion, on which records. */
import type { SeededRandom } from '../../../src/sim/world/seeded-random.js';
import type { ReadLevel } from '../clients/connection.js';
import { type Chooser, latest, scrambledZipfian, uniform } from './distributions.js';

export type Operation = 'read' | 'update' | 'insert' | 'scan' | 'readModifyWrite';

export interface Workload {
  readonly name: string;
  /** In parts of 100. */
  readonly mix: readonly (readonly [operation: Operation, percent: number])[];
  readonly level: ReadLevel;
  readonly chooser: (random: SeededRandom, records: number) => Chooser;
  readonly what: string;
}

/** Of a scan, as in YCSB's workload E: uniform from 1. */
export const MAX_SCAN_ENTRIES = 100;

function simple(name: string, level: ReadLevel, reads: number, what: string): Workload {
  const mix: readonly (readonly [Operation, number])[] = [
    ['read', reads],
    ['update', 100 - reads],
  ];
  return { name, level, mix: mix.filter(([, percent]) => percent > 0), chooser: uniform, what };
}

function ycsb(letter: string, chooser: Workload['chooser'], mix: Workload['mix'], what: string): Workload {
  return { name: `ycsb-${letter}`, level: 'linearizable', mix, chooser, what };
}

export const WORKLOADS: readonly Workload[] = [
  simple('put', 'linearizable', 0, 'puts over existing records, uniform'),
  simple('get', 'linearizable', 100, 'linearizable gets, uniform'),
  simple('get-lease', 'lease', 100, 'gets from the leader under its lease (etcd: linearizable)'),
  simple('get-follower', 'follower', 100, 'linearizable gets, over all nodes'),
  simple('get-stale', 'stale', 100, 'gets of what a node has, over all nodes (etcd: serializable)'),
  simple('half', 'linearizable', 50, 'half puts, half linearizable gets, uniform'),
  {
    ...simple('scan', 'linearizable', 0, 'scans of 1 to 100, uniform'),
    mix: [['scan', 100]],
  },
  ycsb(
    'a',
    scrambledZipfian,
    [
      ['read', 50],
      ['update', 50],
    ],
    '50 % reads, 50 % updates, zipfian',
  ),
  ycsb(
    'b',
    scrambledZipfian,
    [
      ['read', 95],
      ['update', 5],
    ],
    '95 % reads, 5 % updates, zipfian',
  ),
  ycsb('c', scrambledZipfian, [['read', 100]], 'reads, zipfian'),
  ycsb(
    'd',
    latest,
    [
      ['read', 95],
      ['insert', 5],
    ],
    '95 % reads of the latest, 5 % inserts',
  ),
  ycsb(
    'e',
    scrambledZipfian,
    [
      ['scan', 95],
      ['insert', 5],
    ],
    '95 % scans of 1 to 100, 5 % inserts, zipfian',
  ),
  ycsb(
    'f',
    scrambledZipfian,
    [
      ['read', 50],
      ['readModifyWrite', 50],
    ],
    '50 % reads, 50 % reads with a write after, zipfian',
  ),
];

export const WORKLOAD_NAMES: readonly string[] = WORKLOADS.map(({ name }) => name);

/** Throws an Error for a name that is not in `WORKLOAD_NAMES`. */
export function workloadOf(name: string): Workload {
  const workload = WORKLOADS.find((one) => one.name === name);
  if (!workload) throw new Error(`${name} is none of ${WORKLOAD_NAMES.join(', ')}`);
  return workload;
}

export function operationOf({ mix }: Workload, random: SeededRandom): Operation {
  let at = random.float() * 100;
  for (const [operation, percent] of mix) {
    at -= percent;
    if (at < 0) return operation;
  }
  return mix[0]?.[0] ?? 'read';
}

export function writes({ mix }: Workload): boolean {
  return mix.some(([operation]) => operation !== 'read' && operation !== 'scan');
}

/** Whether there are more records afterwards. */
export function changesRecords({ mix }: Workload): boolean {
  return mix.some(([operation]) => operation === 'insert');
}
