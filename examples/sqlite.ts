/**
 * A SQLite database on every member: statements that change it go through the log, queries are answered by any member.
 * `sql.js` is SQLite as WebAssembly. With another binding `toBytes` and `fromBytes` are its way to serialize a database.
 * Statements must do the same everywhere: no `random()`, no `datetime('now')`; give such values as parameters.
 */
import { RaftreeNode, type SmallStateMachine } from 'raftree';
import initSqlJs, { type Database, type SqlValue } from 'sql.js';

const sqlite = await initSqlJs();

type Statement = { sql: string; parameters?: SqlValue[] };

class ReplicatedDatabase implements SmallStateMachine<Statement, number, Statement, SqlValue[][]> {
  #database: Database = new sqlite.Database();

  /** The number of rows that were changed. A statement that fails changes nothing. */
  apply({ sql, parameters = [] }: Statement): number {
    this.#database.run(sql, parameters);
    return this.#database.getRowsModified();
  }

  query({ sql, parameters = [] }: Statement): SqlValue[][] {
    return this.#database.exec(sql, parameters)[0]?.values ?? [];
  }

  toBytes(): Uint8Array {
    return this.#database.export();
  }

  fromBytes(bytes: Uint8Array): void {
    this.#database.close();
    this.#database = new sqlite.Database(bytes);
  }

  close(): void {
    this.#database.close();
  }
}

const settings = {
  clusterId: 'sqlite',
  nodeId: 1,
  dataDirectory: 'data/sqlite/1',
  nodes: [{ id: 1, client: '127.0.0.1:7001', peer: '127.0.0.1:7101' }],
  stateMachine: () => new ReplicatedDatabase(),
};
const node = await RaftreeNode.start(settings);
await node.propose({ sql: 'CREATE TABLE stock (fruit TEXT PRIMARY KEY, amount INTEGER)' });
await node.propose({ sql: 'INSERT INTO stock VALUES (?, ?), (?, ?)', parameters: ['apple', 7, 'pear', 3] });
console.log(await node.propose({ sql: 'UPDATE stock SET amount = amount * 2' })); // 2
await node.propose({ sql: 'INSERT INTO stock VALUES (?, ?)', parameters: ['pear', 1] }).catch((error) => {
  console.log(error.code, error.message); // COMMAND_FAILED UNIQUE constraint failed: stock.fruit
});
await node.close();
const again = await RaftreeNode.start(settings);
console.log(JSON.stringify(await again.query({ sql: 'SELECT * FROM stock ORDER BY fruit' }))); // [["apple",14],["pear",6]]
await again.close();
