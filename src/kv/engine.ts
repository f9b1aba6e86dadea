/**
 * What the state machine asks of the ordered store that keeps its state. The LSM tree is the one that ships; anything
 * that keeps these promises can take its place.
 */
export type EngineOperation =
  | { readonly type: 'put'; readonly key: Uint8Array; readonly value: Uint8Array }
  | { readonly type: 'delete'; readonly key: Uint8Array };

export interface EngineRange {
  readonly gte?: Uint8Array;
  readonly lt?: Uint8Array;
  readonly reverse?: boolean;
}

export interface Engine {
  /** A value of its own, never a view of something that changes. Throws `CORRUPTION`, or the system's error. */
  get(key: Uint8Array): Buffer | undefined;
  /** Ordered by unsigned bytes, over the state of this moment. */
  entries(range: EngineRange): Iterable<readonly [key: Buffer, value: Buffer]>;
  /**
   * Applies a batch, whole or not at all, readable at once; gives its sequence, later if the engine is behind with
   * its work. Batches survive in order: what a crash leaves is the state after some batch.
   */
  write(operations: readonly EngineOperation[]): number | Promise<number>;
  /** Batches up to this sequence survive a power cut. */
  readonly durableSequence: number;
  /** Makes everything written so far durable. */
  flush(): Promise<void>;
  /** Makes a new directory hold, durably, everything written so far. Nothing is written meanwhile. */
  checkpoint(directory: string): Promise<void>;
  /** Throws `CORRUPTION` if a directory that a checkpoint made, perhaps elsewhere, is damaged. Changes nothing. */
  check(directory: string): Promise<void>;
  /** Roughly how many keys are stored. */
  approximateKeys(): number;
  close(): Promise<void>;
}

/** Opens, or makes, the engine in a directory. */
export type OpenEngine = (directory: string) => Promise<Engine>;
