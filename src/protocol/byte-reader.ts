/** Reads the body of a message. Every read first checks that enough bytes are left. */
export class ByteReader {
  readonly #bytes: Buffer;
  #at: number;

  constructor(bytes: Buffer, from = 0) {
    this.#bytes = bytes;
    this.#at = from;
  }

  get remaining(): number {
    return this.#bytes.length - this.#at;
  }

  u8(): number {
    this.#need(1);
    return this.#bytes[this.#at++] as number;
  }

  u32(): number {
    this.#need(4);
    return this.#bigEndian();
  }

  u53(): number {
    this.#need(8);
    const high = this.#bigEndian();
    if (high > 0x1f_ffff) throw new FieldFault('a number above 2^53-1');
    return high * 2 ** 32 + this.#bigEndian();
  }

  #bigEndian(): number {
    const bytes = this.#bytes;
    const at = this.#at;
    this.#at = at + 4;
    return (
      (bytes[at] as number) * 0x100_0000 +
      (((bytes[at + 1] as number) << 16) | ((bytes[at + 2] as number) << 8) | (bytes[at + 3] as number))
    );
  }

  /** A view, not a copy. */
  bytes(): Buffer {
    const length = this.u32();
    if (length === 0) return NOTHING;
    this.#need(length);
    const from = this.#at;
    this.#at += length;
    return this.#bytes.subarray(from, this.#at);
  }

  string(): string {
    const bytes = this.bytes();
    for (let i = 0; i < bytes.length; i++) {
      if ((bytes[i] as number) < 0x80) continue;
      try {
        return strictUtf8.decode(bytes);
      } catch {
        throw new FieldFault('bytes that are not UTF-8');
      }
    }
    return bytes.toString('latin1');
  }

  #need(sizeBytes: number): void {
    if (this.#bytes.length - this.#at < sizeBytes) {
      throw new FieldFault(`${sizeBytes} bytes needed, ${this.#bytes.length - this.#at} left`);
    }
  }
}

const NOTHING = Buffer.alloc(0);
const strictUtf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** What is wrong, and at which field. Each struct or list around the field adds its own name to the path. */
export class FieldFault extends Error {
  path = '';

  within(name: string): this {
    this.path = this.path === '' || this.path.startsWith('[') ? name + this.path : `${name}.${this.path}`;
    return this;
  }
}
