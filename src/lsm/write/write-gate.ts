/**
 * Where writes go through: at once, more slowly, or not for now, as flush and compaction keep up. What waits is let in
 * in its order; the listener is called when writes slow down, stop, and go on.
 */

import { pendingBytes } from '../compaction/compaction-picker.js';
import type { Maintenance } from '../compaction/maintenance.js';
import type { ResolvedOptions, StallReason } from '../options.js';
import type { MemtableList } from '../read/memtable-list.js';
import type { Version } from '../version/version.js';
import type { VersionSet } from '../version/version-set.js';
import { Admission } from './admission.js';
import { WritePace } from './write-pace.js';
import { type WritePressure, writePressure } from './write-pressure.js';

/** Between two looks at the writes that a slowdown lets wait. */
const TICK_MS = 1;

export interface WriteGateHost {
  readonly options: ResolvedOptions;
  readonly versions: VersionSet;
  readonly memtables: MemtableList;
  readonly maintenance: Maintenance;
  /** Bytes on their way into the active memtable. */
  queuedBytes(): number;
}

export interface WriteGateStats {
  readonly waitingWrites: number;
  readonly waitingBytes: number;
  /** Why writes wait, if they do. */
  readonly stalled: StallReason | undefined;
  /** Why writes are slowed down, if they are, and to how many bytes per second. */
  readonly slowed: { readonly reason: StallReason; readonly bytesPerSecond: number } | undefined;
}

export class WriteGate {
  readonly #host: WriteGateHost;
  readonly #admission: Admission;
  readonly #pace: WritePace;
  /** The version that the pending bytes were counted of. */
  #countedVersion: Version | undefined;
  #pendingBytes = 0;
  #isTicking = false;
  /** What the listener was called with last. */
  #toldSlowed: StallReason | undefined;
  #toldStall: StallReason | undefined;

  constructor(host: WriteGateHost) {
    this.#host = host;
    this.#pace = new WritePace(host.options.env.clock);
    this.#admission = new Admission((sizeBytes) => this.take(sizeBytes));
  }

  get waitingBytes(): number {
    return this.#admission.waitingBytes;
  }

  /** Whether a write may go on now, without overtaking one that waits. */
  enterNow(sizeBytes: number): boolean {
    return this.#admission.enterNow(sizeBytes);
  }

  /** Waits for its turn; `enter` then runs at once. Rejects as `refuseAll` says. */
  enter<T>(sizeBytes: number, enter: () => T | Promise<T>): Promise<T> {
    this.note();
    this.#tick();
    return this.#admission.enter(sizeBytes, enter);
  }

  /** Takes a write's share of a slower pace; whether it need not wait. */
  take(sizeBytes: number): boolean {
    const pressure = this.#pressure();
    if (pressure === undefined) return true;
    return pressure.share > 0 && this.#pace.take(sizeBytes, this.#rateAt(pressure));
  }

  refuseAll(error: unknown): void {
    this.#admission.refuseAll(error);
  }

  /** To be called when there may be room again. */
  changed(): void {
    this.#admission.admitWaiting();
    this.note();
    if (this.#admission.waiting > 0 && this.#toldStall === undefined) this.#tick();
  }

  /** Why a write would have to wait now; undefined if it need not. */
  get stallReason(): StallReason | undefined {
    const pressure = this.#pressure();
    if (pressure === undefined) return undefined;
    return pressure.share > 0 && this.#pace.take(0, this.#rateAt(pressure)) ? undefined : pressure.reason;
  }

  /** Why no writes are let in, if so. */
  get stalled(): StallReason | undefined {
    const pressure = this.#pressure();
    return pressure?.share === 0 ? pressure.reason : undefined;
  }

  get stats(): WriteGateStats {
    const { waiting, waitingBytes } = this.#admission;
    const pressure = this.#pressure();
    const slowed =
      pressure && pressure.share > 0
        ? { reason: pressure.reason, bytesPerSecond: this.#rateAt(pressure) * 1000 }
        : undefined;
    return { waitingWrites: waiting, waitingBytes, stalled: this.stalled, slowed };
  }

  /** Tells the listener what has changed. */
  note(): void {
    const { listener } = this.#host.options;
    const pressure = this.#pressure();
    const stall = pressure?.share === 0 ? pressure.reason : undefined;
    const slowed = pressure && pressure.share > 0 ? pressure.reason : undefined;
    if (slowed !== this.#toldSlowed) {
      this.#toldSlowed = slowed;
      listener?.slowed?.(slowed);
    }
    if (stall === this.#toldStall) return;
    this.#toldStall = stall;
    listener?.stalled?.(stall);
  }

  #pressure(): WritePressure | undefined {
    const { options, versions, memtables } = this.#host;
    const version = versions.current;
    if (version !== this.#countedVersion) {
      this.#countedVersion = version;
      this.#pendingBytes = pendingBytes(version, options);
    }
    const { canFreeze } = memtables;
    const level0Files = version.levels[0]?.length ?? 0;
    const { level0SlowdownTrigger, slowdownPendingBytes } = options;
    if (canFreeze && level0Files < level0SlowdownTrigger && this.#pendingBytes < slowdownPendingBytes) {
      return undefined;
    }
    const fill = memtables.fillWith(this.#host.queuedBytes());
    return writePressure({ canFreeze, fill, level0Files, pendingBytes: this.#pendingBytes }, options);
  }

  /** Bytes per millisecond. */
  #rateAt(pressure: WritePressure): number {
    return pressure.share * this.#host.maintenance.flushBytesPerMs;
  }

  /** While writes are slowed down, those that wait are let in bit by bit. */
  #tick(): void {
    if (this.#isTicking) return;
    this.#isTicking = true;
    this.#host.options.env.timers.after(TICK_MS, () => {
      this.#isTicking = false;
      const pressure = this.#pressure();
      if (pressure && pressure.share > 0) this.#pace.tick(TICK_MS, this.#rateAt(pressure));
      this.#admission.admitWaiting();
      this.note();
      // A stall ends with a flush or a compaction, which lets writes in.
      if (this.#admission.waiting > 0 && this.stalled === undefined) this.#tick();
    });
  }
}
