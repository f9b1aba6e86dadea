/** What the benchmark asks of a storage engine, in the form that is fastest through the engine's own interface. */

export interface EngineOptions {
  readonly directory: string;
  /** Of a memtable, where there is one. */
  readonly writeBufferBytes: number;
  /** Of data blocks, where there is one. */
  readonly blockCacheBytes: number;
}

export interface Pair {
  readonly key: Buffer;
  readonly value: Buffer;
}

export interface Engine {
  open(): Promise<void>;
  close(): Promise<void>;
  /** Resolves when the operating system has it, or as soon as the engine says that it is done. */
  put(key: Buffer, value: Buffer): Promise<unknown>;
  /** Resolves when it is on the disk. */
  putDurably(key: Buffer, value: Buffer): Promise<unknown>;
  /** Writes pairs together; resolves as `put`. */
  putMany(pairs: readonly Pair[]): Promise<unknown>;
  remove(key: Buffer): Promise<unknown>;
  /** The value as bytes of the caller's own. */
  get(key: Buffer): Uint8Array | undefined;
  /** Reads everything in order; resolves to the bytes of keys and values. */
  readAll(): Promise<{ entries: number; bytes: number }>;
  /** A new iterator: seeks and reads `count` entries; resolves to how many there were. */
  readFrom(key: Buffer, count: number): Promise<number>;
  /** Whether what was put off so far is done: an LSM tree's level 0 is below its trigger. */
  isDrained(): boolean;
  /** Changes while the engine works in the background. */
  progress(): string;
}

export type OpenEngine = (options: EngineOptions) => Engine;
