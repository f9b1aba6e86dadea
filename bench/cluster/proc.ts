/** What Linux counts of a process and its threads, under /proc. */
import { readdirSync, readFileSync } from 'node:fs';

export interface ThreadSample {
  readonly threadId: number;
  readonly name: string;
  readonly cpuUs: number;
  readonly switches: number;
  /** Of them, those that the system forced. */
  readonly forcedSwitches: number;
}

export interface ProcessSample {
  /** Of all threads, also those that have ended; to 10 ms. */
  readonly cpuUs: number;
  readonly systemUs: number;
  readonly threads: readonly ThreadSample[];
  /** Calls of the read and the write family (`syscr`, `syscw`). */
  readonly reads: number;
  readonly writes: number;
  /** Bytes given to calls of the write family, also to sockets (`wchar`). */
  readonly bytesHandedOver: number;
  /** Bytes sent towards the disk (`write_bytes`). */
  readonly bytesToDisk: number;
  readonly residentBytes: number;
  readonly peakResidentBytes: number;
}

/** _SC_CLK_TCK is 100 on every Linux that Node.js runs on. */
const TICK_US = 10_000;

function numberAfter(text: string, label: string): number {
  const at = text.indexOf(label);
  return at < 0 ? 0 : Number.parseInt(text.slice(at + label.length), 10);
}

/** Fields of `stat` from the third on: the second may contain spaces and parentheses. */
function statFields(text: string): string[] {
  return text.slice(text.lastIndexOf(')') + 2).split(' ');
}

function ticksUs(fields: readonly string[], field: number): number {
  return Number(fields[field - 3]) * TICK_US;
}

/** Throws what the file system throws where the process is gone. */
export function sampleProcess(pid: number): ProcessSample {
  const folder = `/proc/${pid}`;
  const read = (name: string) => readFileSync(`${folder}/${name}`, 'utf8');
  const fields = statFields(read('stat'));
  const io = read('io');
  const status = read('status');
  const systemUs = ticksUs(fields, 15);
  return {
    cpuUs: ticksUs(fields, 14) + systemUs,
    systemUs,
    threads: readdirSync(`${folder}/task`).flatMap((id) => {
      try {
        return [sampleThread(Number(id), `${folder}/task/${id}`)];
      } catch {
        return []; // It has ended meanwhile.
      }
    }),
    reads: numberAfter(io, 'syscr:'),
    writes: numberAfter(io, 'syscw:'),
    bytesHandedOver: numberAfter(io, 'wchar:'),
    bytesToDisk: numberAfter(io, '\nwrite_bytes:'),
    residentBytes: numberAfter(status, 'VmRSS:') * 1024,
    peakResidentBytes: numberAfter(status, 'VmHWM:') * 1024,
  };
}

function sampleThread(threadId: number, folder: string): ThreadSample {
  const read = (name: string) => readFileSync(`${folder}/${name}`, 'utf8');
  const fields = statFields(read('stat'));
  const status = read('status');
  const forcedSwitches = numberAfter(status, '\nnonvoluntary_ctxt_switches:');
  return {
    threadId,
    name: read('comm').trim(),
    cpuUs: onProcessorUs(folder) ?? ticksUs(fields, 14) + ticksUs(fields, 15),
    switches: numberAfter(status, '\nvoluntary_ctxt_switches:') + forcedSwitches,
    forcedSwitches,
  };
}

/** Exact, where the system keeps it: `schedstat` begins with nanoseconds. */
function onProcessorUs(folder: string): number | undefined {
  try {
    const [nanoseconds] = readFileSync(`${folder}/schedstat`, 'utf8').split(' ');
    const us = Number(nanoseconds) / 1000;
    return us > 0 ? us : undefined;
  } catch {
    return undefined;
  }
}

export interface MachineSample {
  readonly busyUs: number;
  /** Taken from this virtual machine by its host. */
  readonly stolenUs: number;
}

/** All processors together. */
export function sampleMachine(): MachineSample {
  const [line = ''] = readFileSync('/proc/stat', 'utf8').split('\n', 1);
  const [user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0, steal = 0] = line
    .split(/\s+/)
    .slice(1)
    .map((ticks) => Number(ticks) * TICK_US);
  return { busyUs: user + nice + system + irq + softirq, stolenUs: steal };
}
