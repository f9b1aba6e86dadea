/**
 * The kinds of fields in messages. Each kind reads and writes its bytes. Its type parameters say what a program sees:
 * the reader returns `Decoded`, and the writer accepts `Encodable`.
 *
 *     u8           1 byte
 *     bool         1 byte: 0 or 1
 *     u32          4 bytes, big-endian
 *     u53          8 bytes, big-endian, at most 2^53-1
 *     bytes        length u32, then that many bytes
 *     string       as bytes; they are UTF-8
 *     enumeration  1 byte: one of the listed numbers
 *     optional     1 byte: 0, or 1 and then the value
 *     list         count u32, then that many elements
 *     struct       its fields, one after the other
 */
import type { ByteReader } from './byte-reader.js';
import { FieldFault } from './byte-reader.js';
import type { ByteWriter } from './byte-writer.js';
import { outOfRange } from './byte-writer.js';

type PlainName = 'u8' | 'bool' | 'u32' | 'u53' | 'bytes' | 'string';

/** How a kind is shown in PROTOCOL.md. */
export type Layout =
  | { readonly kind: 'plain'; readonly name: PlainName }
  | { readonly kind: 'enumeration'; readonly codes: Readonly<Record<string, number>> }
  | { readonly kind: 'optional'; readonly value: Layout }
  | { readonly kind: 'list'; readonly element: Layout }
  | { readonly kind: 'struct'; readonly fields: Readonly<Record<string, Layout>> };

export interface FieldKind<Decoded, Encodable = Decoded> {
  readonly layout: Layout;
  /** The fewest bytes that a value takes. It limits the count of a list. */
  readonly minimumBytes: number;
  /** Throws `UNENCODABLE`. */
  write(writer: ByteWriter, value: Encodable): void;
  /** Throws a FieldFault. */
  read(reader: ByteReader): Decoded;
}

type AnyKind = FieldKind<unknown, never>;
export type Fields = Readonly<Record<string, AnyKind>>;
export type DecodedOf<Kind> = Kind extends FieldKind<infer Decoded, never> ? Decoded : never;
export type EncodableOf<Kind> = Kind extends { write(writer: ByteWriter, value: infer Encodable): void }
  ? Encodable
  : never;
/** A field that is optional is left out if it has no value. */
export type DecodedFields<F extends Fields> = {
  -readonly [Name in keyof F as undefined extends DecodedOf<F[Name]> ? never : Name]: DecodedOf<F[Name]>;
} & {
  -readonly [Name in keyof F as undefined extends DecodedOf<F[Name]> ? Name : never]?: DecodedOf<F[Name]>;
};
/** A field that is optional may be left out. */
export type EncodableFields<F extends Fields> = {
  readonly [Name in keyof F as undefined extends EncodableOf<F[Name]> ? never : Name]: EncodableOf<F[Name]>;
} & {
  readonly [Name in keyof F as undefined extends EncodableOf<F[Name]> ? Name : never]?: EncodableOf<F[Name]>;
};

const plain = (name: PlainName): Layout => ({ kind: 'plain', name });

export const u8: FieldKind<number> = {
  layout: plain('u8'),
  minimumBytes: 1,
  write(writer, value) {
    if (!(value >= 0 && value <= 255 && Number.isInteger(value))) throw outOfRange('u8', value);
    writer.u8(value);
  },
  read: (reader) => reader.u8(),
};

export const bool: FieldKind<boolean> = {
  layout: plain('bool'),
  minimumBytes: 1,
  write: (writer, value) => writer.u8(value ? 1 : 0),
  read(reader) {
    const value = reader.u8();
    if (value > 1) throw new FieldFault(`${value} where 0 or 1 belongs`);
    return value === 1;
  },
};

export const u32: FieldKind<number> = {
  layout: plain('u32'),
  minimumBytes: 4,
  write: (writer, value) => writer.u32(value),
  read: (reader) => reader.u32(),
};

export const u53: FieldKind<number> = {
  layout: plain('u53'),
  minimumBytes: 8,
  write: (writer, value) => writer.u53(value),
  read: (reader) => reader.u53(),
};

/** Decodes to a view of the received memory. The view stays valid, and keeps that memory in use. */
export const bytes: FieldKind<Buffer, Uint8Array> = {
  layout: plain('bytes'),
  minimumBytes: 4,
  write: (writer, value) => writer.bytes(value),
  read: (reader) => reader.bytes(),
};

export const string: FieldKind<string> = {
  layout: plain('string'),
  minimumBytes: 4,
  write: (writer, value) => writer.string(value),
  read: (reader) => reader.string(),
};

export function enumeration<const Codes extends Readonly<Record<string, number>>>(
  codes: Codes,
): FieldKind<keyof Codes & string> {
  const names = new Map(Object.entries(codes).map(([name, code]) => [code, name as keyof Codes & string]));
  return {
    layout: { kind: 'enumeration', codes },
    minimumBytes: 1,
    write(writer, value) {
      const code = codes[value];
      if (code === undefined) throw outOfRange(Object.keys(codes).join(' or '), value);
      writer.u8(code);
    },
    read(reader) {
      const code = reader.u8();
      const name = names.get(code);
      if (name === undefined) throw new FieldFault(`unknown value ${code}`);
      return name;
    },
  };
}

export function optional<Decoded, Encodable>(
  value: FieldKind<Decoded, Encodable>,
): FieldKind<Decoded | undefined, Encodable | undefined> {
  return {
    layout: { kind: 'optional', value: value.layout },
    minimumBytes: 1,
    write(writer, given) {
      writer.u8(given === undefined ? 0 : 1);
      if (given !== undefined) value.write(writer, given);
    },
    read: (reader) => (bool.read(reader) ? value.read(reader) : undefined),
  };
}

export function list<Decoded, Encodable>(
  element: FieldKind<Decoded, Encodable>,
): FieldKind<Decoded[], readonly Encodable[]> {
  const countOf = (reader: ByteReader): number => {
    const count = reader.u32();
    if (count * element.minimumBytes > reader.remaining) {
      throw new FieldFault(`${count} elements claimed in ${reader.remaining} bytes`);
    }
    return count;
  };
  return {
    layout: { kind: 'list', element: element.layout },
    minimumBytes: 4,
    write(writer, values) {
      writer.u32(values.length);
      for (const value of values) element.write(writer, value);
    },
    read(reader) {
      const count = countOf(reader);
      const values: Decoded[] = [];
      try {
        while (values.length < count) values.push(element.read(reader));
      } catch (fault) {
        throw fault instanceof FieldFault ? fault.within(`[${values.length}]`) : fault;
      }
      return values;
    },
  };
}

export function struct<const F extends Fields>(fields: F): FieldKind<DecodedFields<F>, EncodableFields<F>> {
  const names = Object.keys(fields);
  // TypeScript cannot follow the types of single fields through a loop over their names. The signature has them.
  const kinds = Object.values(fields) as unknown as FieldKind<unknown>[];
  const layouts = Object.fromEntries(Object.entries(fields).map(([name, kind]) => [name, kind.layout]));
  return {
    layout: { kind: 'struct', fields: layouts },
    minimumBytes: kinds.reduce((sum, kind) => sum + kind.minimumBytes, 0),
    write(writer, value) {
      const values = value as Readonly<Record<string, unknown>>;
      for (let i = 0; i < kinds.length; i++) {
        kinds[i]?.write(writer, values[names[i] as string]);
      }
    },
    read(reader) {
      const value: Record<string, unknown> = {};
      let i = 0;
      try {
        for (; i < kinds.length; i++) {
          const field = kinds[i]?.read(reader);
          if (field !== undefined) value[names[i] as string] = field;
        }
      } catch (fault) {
        throw fault instanceof FieldFault ? fault.within(names[i] as string) : fault;
      }
      return value as DecodedFields<F>;
    },
  };
}
