/**
 * The entries of an append: on the wire a list of structs like any other. They are most of what a cluster that is
 * written to sends and reads, so they are read in one loop, and a list that goes to several members is encoded once.
 */
import { ENTRY_KIND_NUMBERS, type Entry, entryKindOf } from '../raft/types.js';
import { FieldFault } from './byte-reader.js';
import { outOfRange } from './byte-writer.js';
import { bytes, enumeration, type FieldKind, list, struct, u53 } from './field-kinds.js';

export interface ReceivedEntry extends Entry {
  /** A view. */
  readonly body: Buffer;
}

const plain = list(struct({ term: u53, kind: enumeration(ENTRY_KIND_NUMBERS), body: bytes }));
/** Of an entry, without its body. */
const HEADER_BYTES = 13;
/** A list with more is encoded for each member: it would stay in memory until the next one. */
const MAX_KEPT_BYTES = 1024 * 1024;
const NONE: readonly Entry[] = [];
/** The list that was encoded last, and its elements: a leader gives the same list for each member. */
let last: { readonly entries: readonly Entry[]; readonly elements: Buffer } = {
  entries: NONE,
  elements: Buffer.alloc(0),
};

export const entryList: FieldKind<ReceivedEntry[], readonly Entry[]> = {
  layout: plain.layout,
  minimumBytes: plain.minimumBytes,
  write(writer, entries) {
    writer.u32(entries.length);
    const elements = last.entries === entries ? last.elements : encodeElements(entries);
    last = elements.length <= MAX_KEPT_BYTES ? { entries, elements } : last;
    writer.encoded(elements);
  },
  read(reader) {
    const count = reader.u32();
    if (count * HEADER_BYTES > reader.remaining)
      throw new FieldFault(`${count} elements claimed in ${reader.remaining} bytes`);
    const entries: ReceivedEntry[] = [];
    let field = 'term';
    try {
      while (entries.length < count) {
        field = 'term';
        const term = reader.u53();
        field = 'kind';
        const number = reader.u8();
        const kind = entryKindOf(number);
        if (!kind) throw new FieldFault(`unknown value ${number}`);
        field = 'body';
        entries.push({ term, kind, body: reader.bytes() });
      }
    } catch (fault) {
      throw fault instanceof FieldFault ? fault.within(field).within(`[${entries.length}]`) : fault;
    }
    return entries;
  },
};

function encodeElements(entries: readonly Entry[]): Buffer {
  let sizeBytes = 0;
  for (const { body } of entries) sizeBytes += HEADER_BYTES + body.length;
  const elements = Buffer.allocUnsafe(sizeBytes);
  let at = 0;
  for (const { term, kind, body } of entries) {
    if (!(term >= 0 && Number.isSafeInteger(term))) throw outOfRange('u53', term);
    at = elements.writeUInt32BE(Math.floor(term / 2 ** 32), at);
    at = elements.writeUInt32BE(term >>> 0, at);
    elements[at] = ENTRY_KIND_NUMBERS[kind];
    at = elements.writeUInt32BE(body.length, at + 1);
    elements.set(body, at);
    at += body.length;
  }
  return elements;
}
