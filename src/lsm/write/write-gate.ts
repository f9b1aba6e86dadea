/**
 * Every write passes here: at once, more slowly, or later, depending on how far flush and compaction are behind.
 * Waiting writes are admitted in order. The listener is called when writes slow down, stop, and resume.
 */

import { pendingBytes } from '../compaction/compaction-picker.js';
import type { Maintenance } from '../compaction/maintenance.js';
import type { MemtableList } from '../memtable/memtable-list.js';
import type { ResolvedOptions, StallReason } from '../options.js';
import type { Version } from '../version/version.js';
import type { VersionSet } from '../version/version-set.js';
import { Admission } from './admission.js';
import { WritePace } from './write-pace.js';
import { type WritePressure, writePressure } from './write-pressure.js';

/** The time between two checks of the writes that wait during a slowdown. */
const TICK_MS = 1;

export interface WriteGateHost {
  readonly options: ResolvedOptions;
  readonly versions: VersionSet;
  readonly memtables: MemtableList;
  readonly maintenance: Maintenance;
  /** Bytes that are not yet in the active memtable but will be inserted. */
  queuedBytes(): number;
}

export interface WriteGateStats {
  readonly waitingWrites: number;
  readonly waitingBytes: number;
  /** Why writes wait; undefined if they do not wait. */
  readonly stalled: StallReason | undefined;
  /** Why writes are slowed down, and to how many bytes per second; undefined if they are not. */
  readonly slowed: { readonly reason: StallReason; readonly bytesPerSecond: number } | undefined;
}

export class WriteGate {
  readonly #host: WriteGateHost;
  readonly #admission: Admission;
  readonly #pace: WritePace;
  /** The version for which the pending bytes were counted. */
  #countedVersion: Version | undefined;
  #pendingBytes = 0;
  #isTicking = false;
  /** The last reason that the listener was told. */
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

  /** Whether a write may proceed now, without overtaking a waiting one. */
  enterNow(sizeBytes: number): boolean {
    return this.#admission.enterNow(sizeBytes);
  }

  /** Waits until the write is next; `enter` then runs at once. Rejects with the error given to `refuseAll`. */
  enter<T>(sizeBytes: number, enter: () => T | Promise<T>): Promise<T> {
    this.note();
    this.#tick();
    return this.#admission.enter(sizeBytes, enter);
  }

  /** Takes the bytes of a write from the reduced rate; false if the write must wait. */
  take(sizeBytes: number): boolean {
    const pressure = this.#pressure();
    if (pressure === undefined) return true;
    return pressure.share > 0 && this.#pace.take(sizeBytes, this.#rateAt(pressure));
  }

  refuseAll(error: unknown): void {
    this.#admission.refuseAll(error);
  }

  /** Must be called when there may be room again. */
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

  /** Why writes are slowed down or not admitted; undefined if they are admitted as they come. */
  get pressedBy(): StallReason | undefined {
    return this.#pressure()?.reason;
  }

  /** Why no writes are admitted; undefined if they are. */
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

  /** Calls the listener for each change. */
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

  /** During a slowdown, admits waiting writes at the reduced rate. */
  #tick(): void {
    if (this.#isTicking) return;
    this.#isTicking = true;
    this.#host.options.env.timers.after(TICK_MS, () => {
      this.#isTicking = false;
      const pressure = this.#pressure();
      if (pressure && pressure.share > 0) this.#pace.tick(TICK_MS, this.#rateAt(pressure));
      this.#admission.admitWaiting();
      this.note();
      // A stall ends with a flush or a compaction, and that admits writes.
      if (this.#admission.waiting > 0 && this.stalled === undefined) this.#tick();
    });
  }
}
