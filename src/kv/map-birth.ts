/**
 * The birth of a map: a cluster that began with one tablet gets a group beside it that keeps the map (meta).
 *
 *     entry    16 u8 | configuration u53       the members must be those of this configuration, and settled
 *     record   1 u8 | index u53 | term u53 | configuration
 *
 * The entry is one of the first tablet's log, of the kind `tablet`. It changes no key. Each replica that applies it
 * makes the group of the map, which begins behind this entry, with the members that the tablet has then, and an empty
 * state. The record is written with the applied index of the entry. So it is in every snapshot, and a replica that gets
 * one makes the same group.
 *
 * Integers are little-endian.
 */
import { RaftreeError } from '../env/errors.js';
import { FIRST_TABLET, META_GROUP } from '../placement/placement.js';
import { type Configuration, isJoint, membersOf } from '../raft/configuration.js';
import { decodeConfiguration, encodeConfiguration } from '../raft/configuration-codec.js';
import type { SnapshotBase } from '../raft/types.js';
import { readUint53, writeUint53 } from '../record/record.js';
import type { Companion } from '../replica/group-state-machine.js';

const ENTRY = 16;
const ENTRY_BYTES = 9;
const RECORD = 1;
const RECORD_BYTES = 17;

export function encodeMapEntry(configurationIndex: number): Buffer {
  const body = Buffer.alloc(ENTRY_BYTES);
  body[0] = ENTRY;
  writeUint53(body, configurationIndex, 1);
  return body;
}

/** The index of the configuration that the entry names. Undefined for a body of another form. */
export function decodeMapEntry(bytes: Uint8Array): number | undefined {
  if (bytes.length !== ENTRY_BYTES || bytes[0] !== ENTRY) return undefined;
  return readUint53(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length), 1);
}

/** Why a map cannot begin so; undefined if it can. All replicas must find the same. */
export function mapRefusal(
  tablet: number,
  configurationIndex: number,
  configuration: Configuration,
): string | undefined {
  if (tablet !== FIRST_TABLET) return 'it begins beside the first tablet only';
  if (configuration.index !== configurationIndex) return 'the members have changed meanwhile';
  if (isJoint(configuration)) return 'a change of the members is under way';
  if (membersOf(configuration).length > configuration.voters.length) return 'one of the members is a learner';
  return undefined;
}

export function companionOf({ index, term, configuration }: SnapshotBase): Companion {
  return { index, term, configuration, group: META_GROUP };
}

export function encodeMapBirth({ index, term, configuration }: SnapshotBase): Buffer {
  const head = Buffer.alloc(RECORD_BYTES);
  head[0] = RECORD;
  writeUint53(head, index, 1);
  writeUint53(head, term, 9);
  return Buffer.concat([head, encodeConfiguration(configuration)]);
}

/** Throws `CORRUPTION` for bytes that `encodeMapBirth` does not write. */
export function decodeMapBirth(record: Buffer): SnapshotBase {
  try {
    if (record[0] !== RECORD) throw new RangeError('it is of a newer version');
    const configuration = decodeConfiguration(record.subarray(RECORD_BYTES));
    return { index: readUint53(record, 1), term: readUint53(record, 9), configuration };
  } catch (error) {
    throw new RaftreeError('CORRUPTION', 'the record of the birth of the map cannot be read', {
      cause: error,
    });
  }
}
