/**
 * Cluster secrets in the form that people provide: a text, or a file with one secret per line. A node proves the first
 * one and accepts all of them, so that a secret can be changed while the cluster runs.
 */
import type { FileSystem } from '../env/env.js';
import { errorCode, errorMessage, RaftreeError } from '../env/errors.js';

export const MIN_SECRET_BYTES = 16;
export const MAX_SECRET_BYTES = 1024;
/** The old and the new one, and spare ones for changes in quick succession. */
export const MAX_SECRETS = 4;

/** What is wrong with a secret; undefined if it is valid. Never shows the secret. */
export function secretFault(secret: string | Uint8Array): string | undefined {
  const bytes = typeof secret === 'string' ? Buffer.byteLength(secret) : secret.length;
  if (bytes >= MIN_SECRET_BYTES && bytes <= MAX_SECRET_BYTES) return undefined;
  return `it has ${bytes} bytes; expected ${MIN_SECRET_BYTES} to ${MAX_SECRET_BYTES}`;
}

export interface SecretFile {
  readonly secrets: readonly Buffer[];
  /** Whether every user of the machine may read it. */
  readonly isReadableByOthers: boolean;
}

/** Reads a file of secrets. Throws `INVALID_CONFIG`; the message names the file and shows no part of its content. */
export function readSecretFile(
  fs: Pick<FileSystem, 'readFile' | 'isReadableByOthers'>,
  path: string,
): SecretFile {
  const fault = (what: string) => new RaftreeError('INVALID_CONFIG', `the secret file ${path} ${what}`);
  let content: Buffer;
  try {
    content = fs.readFile(path);
  } catch (error) {
    throw fault(errorCode(error) === 'ENOENT' ? 'does not exist' : `cannot be read: ${errorMessage(error)}`);
  }
  const secrets = linesOf(content);
  if (secrets.length === 0)
    throw fault('is empty; write a secret into it, such as 32 random bytes in base64');
  if (secrets.length > MAX_SECRETS)
    throw fault(`has ${secrets.length} lines; expected one secret a line, at most ${MAX_SECRETS}`);
  for (const [i, secret] of secrets.entries()) {
    const reason = secretFault(secret);
    if (reason !== undefined) throw fault(`has a fault in line ${i + 1}: ${reason}`);
  }
  return { secrets, isReadableByOthers: fs.isReadableByOthers(path) };
}

/** The lines without line ends, and without empty lines at the end of the file. */
function linesOf(content: Buffer): Buffer[] {
  const lines: Buffer[] = [];
  for (let start = 0; start < content.length; ) {
    const found = content.indexOf('\n', start);
    const end = found < 0 ? content.length : found;
    lines.push(content.subarray(start, content[end - 1] === 0x0d && end > start ? end - 1 : end));
    start = end + 1;
  }
  while (lines.at(-1)?.length === 0) lines.pop();
  return lines;
}
