/**
 * What is measured: a workload, a value size and a number of clients.
 *
 *     put                  every value size and number of clients of the options
 *     put/4096             values of 4096 bytes, every number of clients of the options
 *     get-lease/256/100    values of 256 bytes, 100 clients
 */
import { changesRecords, WORKLOAD_NAMES, workloadOf } from './load/workloads.js';

export interface Case {
  readonly workload: string;
  readonly valueBytes: number;
  readonly clients: number;
}

export const MAX_VALUE_BYTES = 1024 * 1024;
export const MAX_CLIENTS = 10_000;

export interface CaseDefaults {
  readonly valueBytes: readonly number[];
  readonly clients: readonly number[];
}

/** The cases of a list of workloads, without repetitions. Throws an Error that says which part is wrong. */
export function casesOf(names: readonly string[], defaults: CaseDefaults): Case[] {
  const cases = new Map<string, Case>();
  for (const name of names) {
    const [workload = '', valueText, clientText, ...rest] = name.split('/');
    if (!WORKLOAD_NAMES.includes(workload))
      throw new Error(`${workload} is none of ${WORKLOAD_NAMES.join(', ')}`);
    if (rest.length > 0) throw new Error(`${name}: expected at most WORKLOAD/VALUE-BYTES/CLIENTS`);
    const sizes =
      valueText === undefined ? defaults.valueBytes : [within(valueText, 1, MAX_VALUE_BYTES, name)];
    const counts = clientText === undefined ? defaults.clients : [within(clientText, 1, MAX_CLIENTS, name)];
    for (const valueBytes of sizes) {
      for (const clients of counts) {
        const one = { workload, valueBytes, clients };
        cases.set(caseName(one), one);
      }
    }
  }
  return [...cases.values()];
}

/** Load beside each case, `scan/50`: a workload and a number of clients. */
export interface Beside {
  readonly workload: string;
  readonly clients: number;
}

/** Throws an Error that says which part is wrong. */
export function besideOf(text: string): Beside {
  const [workload = '', clientText = '', ...rest] = text.split('/');
  if (rest.length > 0) throw new Error(`${text}: expected WORKLOAD/CLIENTS`);
  const [one] = casesOf([`${workload}/1/${clientText}`], { valueBytes: [], clients: [] });
  if (!one || changesRecords(workloadOf(workload)))
    throw new Error(`${text}: expected a workload that inserts nothing`);
  return { workload, clients: one.clients };
}

export function caseName({ workload, valueBytes, clients }: Case): string {
  return `${workload}/${valueBytes}/${clients}`;
}

function within(text: string, least: number, most: number, name: string): number {
  const value = Number(text);
  if (!/^\d+$/.test(text) || value < least || value > most)
    throw new Error(`${name}: expected a whole number from ${least} to ${most}, found "${text}"`);
  return value;
}
