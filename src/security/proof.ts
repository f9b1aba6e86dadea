/**
 * The proof that the two ends of a connection hold the same secret, without sending it. Both have said hello and sent
 * 32 random bytes, a nonce of their own:
 *
 *     proof = HMAC-SHA256(secret, fields)       each field as length u32, bytes
 *     fields: label with the prover's side | connecting side's nonce | accepting side's nonce
 *             | connecting side's role, cluster id, node id, store id | the same four of the accepting side
 *
 * - A proof cannot be replayed: the verifier's own nonce is in it, and is new for each connection.
 * - It cannot be reflected: the label names the side that proves, so no side's own proof is one of the other side.
 * - It speaks for one meeting only: who said hello to whom is in it. What was proven to one node, as one node, is no
 *   proof before another or as another.
 * - The connecting side proves first. Whoever only connects gets nothing to try secrets on.
 *
 * The incarnation of the cluster is not in it: it may begin while a connection stands. It is compared when nodes
 * announce their birth, which only counts after the proof.
 */
import { createHmac, timingSafeEqual } from 'node:crypto';

export const NONCE_BYTES = 32;

export type Side = 'connecting' | 'accepting';

/** As one side presented itself in its hello. */
export interface Party {
  readonly role: string;
  readonly clusterId: string;
  readonly nodeId: number;
  readonly storeId: string;
}

/** What both sides know of their meeting. */
export interface Meeting {
  readonly connecting: { readonly party: Party; readonly nonce: Uint8Array };
  readonly accepting: { readonly party: Party; readonly nonce: Uint8Array };
}

export function prove(secret: Uint8Array, prover: Side, { connecting, accepting }: Meeting): Buffer {
  const hmac = createHmac('sha256', secret);
  const field = (bytes: Uint8Array) => {
    const length = Buffer.allocUnsafe(4);
    length.writeUInt32BE(bytes.length, 0);
    hmac.update(length).update(bytes);
  };
  field(Buffer.from(`raftree cluster secret, proof of the ${prover} side`));
  field(connecting.nonce);
  field(accepting.nonce);
  for (const { role, clusterId, nodeId, storeId } of [connecting.party, accepting.party])
    for (const text of [role, clusterId, String(nodeId), storeId]) field(Buffer.from(text));
  return hmac.digest();
}

/** The secret that the other side has proven, of those that are accepted; undefined if it is none of them. */
export function provenSecret(
  secrets: readonly Uint8Array[],
  prover: Side,
  meeting: Meeting,
  proof: Uint8Array,
): Uint8Array | undefined {
  return secrets.find((secret) => {
    const expected = prove(secret, prover, meeting);
    return proof.length === expected.length && timingSafeEqual(proof, expected);
  });
}
