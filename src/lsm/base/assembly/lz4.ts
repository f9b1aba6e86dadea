/**
 * Compresses and decompresses LZ4 blocks. AssemblyScript (https://www.assemblyscript.org): TypeScript's syntax,
 * compiled to WebAssembly by `npm run build:wasm`, which writes `../lz4-wasm.ts`. `usize` is an address in the module's
 * memory.
 */

/** A copy moves this many bytes at once. Memory that far behind the target may be overwritten. */
const STEP: usize = 16;
/** From here on the engine's own copy is faster. */
const LONG: usize = 128;

function copy(target: usize, source: usize, bytes: usize): void {
  if (bytes > LONG) memory.copy(target, source, bytes);
  else for (let i: usize = 0; i < bytes; i += STEP) v128.store(target + i, v128.load(source + i));
}

/** The hash table of `compress` is at address 0: for each hash, where in the block such bytes were last, a u16. */
const TABLE_BYTES: usize = 8192;
/** The last match begins at least so many bytes before the block's end, and ends so many before it. */
const START_MARGIN: usize = 12;
const END_MARGIN: usize = 5;
/** After 2^6 positions without a match the search goes on by two positions, after as many again by three, and so on. */
const PATIENCE: usize = 6;

/** Where the last position of five bytes like those at an address is kept. */
function placeOf(at: usize): usize {
  return (<usize>(((load<u64>(at) << 24) * 889523592379) >> 52)) << 1;
}

function writeCount(target: usize, count: usize): usize {
  let left = count;
  let at = target;
  for (; left >= 255; left -= 255) store<u8>(at++, 255);
  store<u8>(at++, <u8>left);
  return at;
}

/** Writes token and literals; `match` is the low half of the token. */
function writeLiterals(target: usize, literals: usize, bytes: usize, match: usize): usize {
  let out = target;
  store<u8>(out++, <u8>((min<usize>(bytes, 15) << 4) | match));
  if (bytes >= 15) out = writeCount(out, bytes - 15);
  copy(out, literals, bytes);
  return out + bytes;
}

/**
 * Compresses the block at `source` to `end`, at most 64 KiB, to `target`. Returns the size, or 0 if it is above `most`.
 */
export function compress(source: usize, end: usize, target: usize, most: usize): usize {
  const targetEnd = target + most;
  let out = target;
  let literals = source;
  if (end - source > START_MARGIN) {
    memory.fill(0, 0, TABLE_BYTES);
    const lastStart = end - START_MARGIN;
    const matchEnd = end - END_MARGIN;
    for (let at = source + 1; ; ) {
      // A place that was not written names position 0, where such bytes may also be.
      let match: usize = source;
      let tries: usize = 1 << PATIENCE;
      for (; at <= lastStart; at += tries++ >> PATIENCE) {
        const place = placeOf(at);
        match = source + <usize>load<u16>(place);
        store<u16>(place, <u16>(at - source));
        if (load<u32>(match) === load<u32>(at)) break;
      }
      if (at > lastStart) break;
      while (at > literals && match > source && load<u8>(at - 1) === load<u8>(match - 1)) {
        at--;
        match--;
      }
      const bytes = at - literals;
      const offset = at - match;
      at += 4;
      const start = at;
      let difference: u64 = 0;
      for (; at + 8 <= matchEnd; at += 8) {
        difference = load<u64>(at) ^ load<u64>(at - offset);
        if (difference !== 0) break;
      }
      if (difference !== 0) at += <usize>(ctz(difference) >> 3);
      else while (at < matchEnd && load<u8>(at) === load<u8>(at - offset)) at++;
      const length = at - start;
      if (out + 5 + bytes + bytes / 255 + length / 255 > targetEnd) return 0;
      out = writeLiterals(out, literals, bytes, min<usize>(length, 15));
      store<u16>(out, <u16>offset);
      out += 2;
      if (length >= 15) out = writeCount(out, length - 15);
      literals = at;
      if (at > lastStart) break;
      store<u16>(placeOf(at - 2), <u16>(at - 2 - source));
    }
  }
  const bytes = end - literals;
  if (out + 2 + bytes + bytes / 255 > targetEnd) return 0;
  return writeLiterals(out, literals, bytes, 0) - target;
}

/**
 * Decompresses the sequences at `source` to `sourceEnd` to `target`, where the block will have `bytes`; false if they
 * are damaged. Between `source` and `sourceEnd` are less than 16 MiB, so that no sum of lengths overflows.
 */
export function decompress(source: usize, sourceEnd: usize, target: usize, bytes: usize): bool {
  const end = target + bytes;
  let at = source;
  let out = target;
  while (at < sourceEnd) {
    const token: usize = load<u8>(at++);
    let literals = token >> 4;
    if (literals === 15) {
      for (let more: usize = 255; more === 255; literals += more) {
        if (at >= sourceEnd) return false;
        more = load<u8>(at++);
      }
    }
    if (literals > sourceEnd - at || literals > end - out) return false;
    copy(out, at, literals);
    at += literals;
    out += literals;
    if (at === sourceEnd) return out === end;
    if (sourceEnd - at < 2) return false;
    const offset: usize = load<u16>(at);
    at += 2;
    let match = token & 15;
    if (match === 15) {
      for (let more: usize = 255; more === 255; match += more) {
        if (at >= sourceEnd) return false;
        more = load<u8>(at++);
      }
    }
    match += 4;
    if (offset === 0 || offset > out - target || match > end - out) return false;
    // A match may overlap what it produces: then each step must not read what it writes itself.
    if (offset >= STEP) {
      for (let i: usize = 0; i < match; i += STEP) v128.store(out + i, v128.load(out + i - offset));
    } else {
      // What is repeated is also repeated from several times as far back. First single bytes, until that far is known.
      const back = match > STEP ? offset * ((STEP + offset - 1) / offset) : match + offset;
      const known = min<usize>(match, back - offset);
      let i: usize = 0;
      for (; i < known; i++) store<u8>(out + i, load<u8>(out + i - offset));
      for (; i < match; i += STEP) v128.store(out + i, v128.load(out + i - back));
    }
    out += match;
  }
  return false;
}
