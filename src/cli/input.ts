/** Input of commands: files and standard input. */
import * as fs from 'node:fs';
import { errorCode, errorMessage } from '../env/errors.js';
import type { CommonOptions } from './client-options.js';
import { UsageError } from './exit-codes.js';

const STANDARD_INPUT = 0;

export interface Input {
  readonly stream: AsyncIterable<Uint8Array>;
  /** 0 if unknown. */
  readonly sizeBytes: number;
}

/**
 * A file, or standard input without one, which in a shell is the shell's own. Throws `UsageError`, also while it is
 * read.
 */
export function openInput(file: string | undefined, { kept }: Pick<CommonOptions, 'kept'>): Input {
  if (file === undefined && kept)
    throw new UsageError(
      'in the shell, standard input has the commands: give a value, or the name of a file',
    );
  const name = file ?? 'standard input';
  let stats: fs.Stats;
  try {
    stats = file === undefined ? fs.fstatSync(STANDARD_INPUT) : fs.statSync(file);
  } catch (error) {
    throw new UsageError(
      errorCode(error) === 'ENOENT' ? `there is no file ${name}` : unreadable(name, error),
    );
  }
  // Node.js would read a directory on standard input as empty.
  if (stats.isDirectory()) throw new UsageError(`${name} is a folder; a file is expected`);
  const stream = file === undefined ? process.stdin : fs.createReadStream(file);
  return { stream: guarded(stream, name), sizeBytes: file === undefined ? 0 : stats.size };
}

/** Reads all bytes. Throws `UsageError` if there are more than `maxBytes`. */
export async function readAll({ stream }: Input, maxBytes: number): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of stream) {
    bytes += chunk.length;
    if (bytes > maxBytes)
      throw new UsageError(`the value is longer than ${maxBytes} bytes, the limit for any value`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

async function* guarded(stream: AsyncIterable<Uint8Array>, name: string): AsyncGenerator<Uint8Array> {
  try {
    yield* stream;
  } catch (error) {
    throw new UsageError(unreadable(name, error));
  }
}

function unreadable(name: string, error: unknown): string {
  return `${name} cannot be read: ${errorMessage(error)}`;
}
