/**
 * Cluster secrets as people give them: as text, or as a file with one secret a line. The first one is proven, all are
 * accepted, so that a secret can be changed while the cluster runs.
 */
import type { FileSystem } from '../env/env.js';
import { errorCode, errorMessage, RaftreeError } from '../env/errors.js';

export const MIN_SECRET_BYTES = 16;
export const MAX_SECRET_BYTES = 1024;
/** The old one and the new one, and some more for those in a hurry. */
export const MAX_SECRETS = 4;

/** What is wrong with a secret; undefined if nothing is. Never shows the secret. */
export function secretFault(secret: string | Uint8Array): string | undefined {
  const bytes = typeof secret === 'string' ? Buffer.byteLength(secret) : secret.length;
  if (bytes >= MIN_SECRET_BYTES && bytes <= MAX_SECRET_BYTES) return undefined;
  return `it has ${bytes} bytes; expected ${MIN_SECRET_BYTES} to ${MAX_SECRET_BYTES}`;
}

export interface SecretFile {
  readonly secrets: readonly Buffer[];
  /** Every user of the machine may read it. */
  readonly isReadableByOthers: boolean;
}

/** Reads a file of secrets. Throws `INVALID_CONFIG`, which names the file and shows nothing of it. */
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

/** Without their ends, and without an empty line at the end. */
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
