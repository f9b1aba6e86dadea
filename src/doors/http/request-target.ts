/** The target of a request: path segments and query, percent-decoded to bytes. No byte of a key is rewritten. */

export interface RequestTarget {
  /** The segments between slashes, decoded; of `/v1/kv/a%2Fb`: `v1`, `kv`, `a/b`. */
  readonly segments: readonly Buffer[];
  /** Decoded; each byte is one character (latin1). */
  readonly query: ReadonlyMap<string, string>;
}

/** Returns a text that says what is wrong with the target. */
export function parseTarget(target: string): RequestTarget | string {
  const ownForm = target.replace(/^https?:\/\/[^/?#]*/i, '');
  const [path = '', ...rest] = ownForm.split('?');
  if (!path.startsWith('/')) return 'the path begins with "/"';
  const segments: Buffer[] = [];
  for (const text of path.slice(1).split('/')) {
    const segment = percentDecoded(text);
    if (segment === undefined) return notEncoded(text);
    segments.push(segment);
  }
  const query = new Map<string, string>();
  for (const pair of rest.join('?').split('&')) {
    if (pair === '') continue;
    const equals = pair.indexOf('=');
    const [name, value] = equals < 0 ? [pair, ''] : [pair.slice(0, equals), pair.slice(equals + 1)];
    const [decodedName, decodedValue] = [name, value].map((text) =>
      percentDecoded(text.replaceAll('+', ' ')),
    );
    if (decodedName === undefined || decodedValue === undefined) return notEncoded(pair);
    const key = decodedName.toString('latin1');
    if (query.has(key)) return `the query has "${key.slice(0, 100)}" twice`;
    query.set(key, decodedValue.toString('latin1'));
  }
  return { segments, query };
}

function notEncoded(text: string): string {
  return `"${text.slice(0, 100)}" is not percent-encoded: after "%" come two hexadecimal digits`;
}

/** Undefined if a `%` is not followed by two hexadecimal digits. */
function percentDecoded(text: string): Buffer | undefined {
  if (!text.includes('%')) return Buffer.from(text, 'latin1');
  if (/%(?![0-9a-fA-F]{2})/.test(text)) return undefined;
  const decoded = text.replace(/%(..)/g, (_all, digits: string) =>
    String.fromCharCode(Number.parseInt(digits, 16)),
  );
  return Buffer.from(decoded, 'latin1');
}
