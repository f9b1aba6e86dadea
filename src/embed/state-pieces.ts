/** The state of a program's machine as a stream of bytes, whichever kind of machine it is. */
import type { AnyStateMachine } from './state-machine.js';

type Machine = AnyStateMachine<unknown, unknown, unknown, unknown>;

/** True if the machine has one of the two pairs of methods. A program that is not compiled may have none. */
export function hasState(machine: Machine): boolean {
  const pairs = [
    ['snapshot', 'restore'],
    ['toBytes', 'fromBytes'],
  ];
  return pairs.some((pair) => pair.every((name) => typeof Reflect.get(machine, name) === 'function'));
}

/** Throws what the machine throws, and a TypeError for a piece that is no Uint8Array. */
export async function* statePieces(machine: Machine): AsyncGenerator<Uint8Array, void, undefined> {
  const pieces = 'snapshot' in machine ? machine.snapshot() : [await machine.toBytes()];
  for await (const piece of pieces) {
    if (!(piece instanceof Uint8Array)) throw new TypeError('it gave something else than a Uint8Array');
    yield piece;
  }
}

export async function restoreState(machine: Machine, pieces: readonly Uint8Array[]): Promise<void> {
  if ('restore' in machine) await machine.restore(eachOf(pieces));
  else await machine.fromBytes(Buffer.concat(pieces));
}

async function* eachOf(pieces: readonly Uint8Array[]): AsyncGenerator<Uint8Array, void, undefined> {
  yield* pieces;
}

/** The same bytes in parts of `partBytes`; the last one may be shorter. Copies. */
export async function* inParts(
  pieces: AsyncIterable<Uint8Array>,
  partBytes: number,
): AsyncGenerator<Buffer, void, undefined> {
  let part = Buffer.allocUnsafe(partBytes);
  let filledBytes = 0;
  for await (const piece of pieces) {
    for (let at = 0; at < piece.length; ) {
      const count = Math.min(piece.length - at, partBytes - filledBytes);
      part.set(piece.subarray(at, at + count), filledBytes);
      at += count;
      filledBytes += count;
      if (filledBytes < partBytes) continue;
      yield part;
      part = Buffer.allocUnsafe(partBytes);
      filledBytes = 0;
    }
  }
  if (filledBytes > 0) yield Buffer.from(part.subarray(0, filledBytes));
}
