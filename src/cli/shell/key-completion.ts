/**
 * Keys that begin with a text, as a file browser shows paths: of keys that go on behind a `/`, only the part up to it,
 * once. What is read is bounded, however many keys there are: behind a part, the next key is looked for.
 */
import type { RaftreeClient } from '../../client/client.js';

const MAX_READS = 16;
const MAX_READ_KEYS = 32;
const MAX_FOUND = 100;
const SLASH = '/'.charCodeAt(0);

/** Keys that are not UTF-8 are left out. */
export async function keysBeginningWith(
  client: Pick<RaftreeClient, 'scan'>,
  text: string,
  timeoutMs: number,
): Promise<string[]> {
  const prefix = Buffer.from(text);
  const found: string[] = [];
  let from: Buffer | undefined = prefix;
  for (let reads = 0; reads < MAX_READS && from && found.length < MAX_FOUND; reads++) {
    const begin: Buffer = from;
    from = undefined;
    let keys = 0;
    const page = client.scan({
      ...{ prefix, from: begin, limit: MAX_READ_KEYS, keysOnly: true },
      ...{ level: 'lease', timeoutMs },
    });
    for await (const { key } of page) {
      keys++;
      if (from && key.compare(from) < 0) continue;
      const slash = key.indexOf(SLASH, prefix.length);
      const part = slash < 0 ? key : key.subarray(0, slash + 1);
      const shown = part.toString();
      if (Buffer.from(shown).equals(part)) found.push(shown);
      from = slash < 0 ? Buffer.concat([key, Buffer.of(0)]) : behind(part);
    }
    if (keys < MAX_READ_KEYS) break;
  }
  return found.slice(0, MAX_FOUND);
}

/** The first key that does not begin with `part`, which ends in a slash. */
function behind(part: Buffer): Buffer {
  const next = Buffer.from(part);
  next[next.length - 1] = SLASH + 1;
  return next;
}
