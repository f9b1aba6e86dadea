/** One SSTable of a version: what the MANIFEST says about it, and its reader while it is open. */

import type { Codec } from '../base/block-codec.js';
import { compareBytes } from '../base/bytes.js';
import type { Table } from './table.js';

export interface TableMetadata {
  /** Part of the file name; larger than the number of every file made before it. */
  readonly number: number;
  readonly sizeBytes: number;
  readonly smallest: Buffer;
  readonly largest: Buffer;
  readonly smallestSequence: number;
  readonly largestSequence: number;
  readonly entries: number;
  readonly tombstones: number;
  /** The codec of its blocks. */
  readonly codec: Codec;
}

export class TableFile {
  readonly metadata: TableMetadata;
  readonly number: number;
  readonly sizeBytes: number;
  readonly smallest: Buffer;
  readonly largest: Buffer;
  /** The number of live versions that contain it; at zero it is obsolete. */
  versions = 0;
  table: Table | undefined;

  constructor(metadata: TableMetadata) {
    this.metadata = metadata;
    this.number = metadata.number;
    this.sizeBytes = metadata.sizeBytes;
    this.smallest = metadata.smallest;
    this.largest = metadata.largest;
  }

  covers(key: Uint8Array): boolean {
    return compareBytes(key, this.smallest) >= 0 && compareBytes(key, this.largest) <= 0;
  }
}

const TABLE_NAME = /^(\d{8,15})\.sst$/;

export function tableName(number: number): string {
  return `${String(number).padStart(8, '0')}.sst`;
}

/** The number in a table's file name, or undefined if it is none. */
export function tableNumber(name: string): number | undefined {
  const match = TABLE_NAME.exec(name);
  return match ? Number(match[1]) : undefined;
}
