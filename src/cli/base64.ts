/** Base64 as RFC 4648 has it: the usual alphabet, with padding. What Node.js would skip or guess is refused. */
export function decodeBase64(text: string): Buffer {
  const bytes = Buffer.from(text, 'base64');
  if (bytes.toString('base64') === text) return bytes;
  throw new Error('it is not base64 (A-Z a-z 0-9 + / and = at the end, without spaces)');
}
