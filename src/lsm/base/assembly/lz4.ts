/**
 * Decompresses LZ4 blocks. AssemblyScript (https://www.assemblyscript.org): TypeScript's syntax, compiled to
 * WebAssembly by `npm run build:wasm`, which writes `../lz4-wasm.ts`. `usize` is an address in the module's memory.
 */

/** A copy moves this many bytes at once. Memory that far behind the target may be overwritten. */
const STEP: usize = 16;
/** From here on the engine's own copy is faster. */
const LONG: usize = 128;

function copy(target: usize, source: usize, bytes: usize): void {
  if (bytes > LONG) memory.copy(target, source, bytes);
  else for (let i: usize = 0; i < bytes; i += STEP) v128.store(target + i, v128.load(source + i));
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
      for (let i: usize = 0; i < match; i++) store<u8>(out + i, load<u8>(out + i - offset));
    }
    out += match;
  }
  return false;
}
