/** Writes the records that a workload finds: in batches, several at a time on each connection. */
import type { Connection, Entry } from '../clients/connection.js';
import type { Plan } from './plan.js';
import { keyOfRecord, ValuePool } from './records.js';

const BATCH_BYTES = 256 * 1024;
/** etcd takes no more in one transaction. */
const BATCH_ENTRIES = 128;
const BATCHES_PER_CONNECTION = 2;

export async function preload(connections: readonly Connection[], plan: Plan): Promise<void> {
  const { valueBytes, firstRecord, records, compressible, seed } = plan;
  const values = new ValuePool(valueBytes, compressible, seed);
  const perBatch = Math.max(1, Math.min(BATCH_ENTRIES, Math.floor(BATCH_BYTES / valueBytes)));
  let next = 0;
  const loader = async (connection: Connection) => {
    while (next < records) {
      const entries: Entry[] = [];
      for (; next < records && entries.length < perBatch; next++)
        entries.push({ key: keyOfRecord(firstRecord + next), value: values.next() });
      await connection.putMany(entries);
    }
  };
  const loaders = connections.flatMap((connection) => Array(BATCHES_PER_CONNECTION).fill(connection));
  await Promise.all(loaders.map(loader));
}
