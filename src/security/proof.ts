/**
 * Proves that both ends of a connection hold the same secret, without sending it. Each side has sent a hello and a
 * nonce, 32 random bytes:
 *
 *     proof = HMAC-SHA256(secret, fields)       each field as length u32, bytes
 *     fields: label with the prover's side | connecting side's nonce | accepting side's nonce
 *             | connecting side's role, cluster id, node id, store id | the same four of the accepting side
 *
 * - No replay: the proof contains the verifier's nonce, which is new for each connection.
 * - No reflection: the label names the proving side, so a side's own proof never verifies as the other side's.
 * - No relay to another node: the proof contains both hellos. A proof made for one node, or as one node, is not valid
 *   for another node or as another node.
 * - The connecting side proves first. So a client without the secret gets no proof on which it could test guesses.
 *
 * The cluster's incarnation is not part of the proof, because the cluster may be born while the connection is open.
 * Nodes compare it when they announce their birth, and accept that only after the proof.
 */
import { createHmac, timingSafeEqual } from 'node:crypto';

export const NONCE_BYTES = 32;

export type Side = 'connecting' | 'accepting';

/** One side as it presented itself in its hello. */
export interface Party {
  readonly role: string;
  readonly clusterId: string;
  readonly nodeId: number;
  readonly storeId: string;
}

/** What both sides know about the connection. */
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

/** The accepted secret that the other side has proven; undefined if it has proven none. */
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
