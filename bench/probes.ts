/** What is read from the outside: latencies, bytes written, bytes on the disk, memory, the event loop's delay. */
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { type IntervalHistogram, monitorEventLoopDelay } from 'node:perf_hooks';
import { build, type Histogram } from 'hdr-histogram-js';

export interface Latency {
  readonly p50: number;
  readonly p99: number;
  readonly p999: number;
}

/** Of single operations; in microseconds, to a tenth. */
export class LatencyRecorder {
  readonly #histogram: Histogram = build({
    lowestDiscernibleValue: 1,
    highestTrackableValue: 600_000_000,
    numberOfSignificantValueDigits: 3,
  });

  record(ms: number): void {
    this.#histogram.recordValue(Math.max(1, Math.round(ms * 10_000)));
  }

  latencyUs(): Latency {
    const at = (percentile: number) => this.#histogram.getValueAtPercentile(percentile) / 10;
    return { p50: at(50), p99: at(99), p999: at(99.9) };
  }
}

/**
 * Bytes that all threads of this process handed to write calls (`wchar` of /proc/self/io); undefined where the system
 * does not count them. Not `write_bytes`: where the page cache works in large folios, that counts up to 128 KiB for
 * every small write over older bytes, of which the disk sees one block.
 */
export function bytesHandedOver(): number | undefined {
  try {
    const match = /^wchar: (\d+)$/m.exec(readFileSync('/proc/self/io', 'utf8'));
    return match ? Number(match[1]) : undefined;
  } catch {
    return undefined;
  }
}

/** Allocated on the disk, which for files with holes is less than their sizes, and for reserved ones more. */
export function bytesOnDisk(directory: string): number {
  let bytes = 0;
  for (const name of readdirSync(directory, { recursive: true })) {
    try {
      bytes += statSync(join(directory, String(name))).blocks * 512;
    } catch {
      // Removed meanwhile.
    }
  }
  return bytes;
}

/** What all threads of this process have used of the processors, in the program and in the system. */
export function cpuSeconds(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
}

/** The most that was resident at once since the process began. */
export function peakMemoryBytes(): number {
  return process.resourceUsage().maxRSS * 1024;
}

export interface LoopDelay {
  readonly p99: number;
  readonly max: number;
}

const RESOLUTION_MS = 1;

/** How much later than asked for a timer of 1 ms fires, in milliseconds. */
export class LoopDelayMeter {
  readonly #histogram: IntervalHistogram = monitorEventLoopDelay({ resolution: RESOLUTION_MS });

  start(): void {
    this.#histogram.enable();
  }

  stop(): LoopDelay {
    this.#histogram.disable();
    const late = (nanoseconds: number) => Math.max(0, nanoseconds / 1e6 - RESOLUTION_MS);
    return { p99: late(this.#histogram.percentile(99)), max: late(this.#histogram.max) };
  }
}
