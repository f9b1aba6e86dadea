/**
 * Strict base64 (RFC 4648): the standard alphabet with padding. Node.js alone would skip or guess invalid characters.
 */
export function decodeBase64(text: string): Buffer {
  const bytes = Buffer.from(text, 'base64');
  if (bytes.toString('base64') === text) return bytes;
  throw new Error('it is not base64 (A-Z a-z 0-9 + / and = at the end, without spaces)');
}
