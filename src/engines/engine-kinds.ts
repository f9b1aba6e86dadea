/** The engines that `storage.engine` of node.json can name: `lsm`, `memory`, and `level:PACKAGE`. */
import { errorMessage, RaftreeError } from '../env/errors.js';
import { LsmResources } from '../lsm/resources.js';
import { levelEngine } from './level-engine.js';
import { type LsmEngineOptions, lsmEngine } from './lsm-engine.js';
import { memoryEngine } from './memory-engine.js';
import type { EngineKind } from './storage-engine.js';

const LEVEL = 'level:';
const CONFIGURED = /^(?:lsm|memory|level:(?:@[a-z0-9._-]{1,40}\/)?[a-z0-9][a-z0-9._-]{0,60})$/;
const GIVEN = /^[a-zA-Z0-9:@/._-]{1,100}$/;

export function isConfigurableEngine(name: string): boolean {
  return CONFIGURED.test(name);
}

export interface NodeEngineOptions extends LsmEngineOptions {
  /** The name in node.json, checked by `isConfigurableEngine`. */
  readonly engine: string;
  readonly maxOpenTables: number;
}

/** The engine of one node. */
export interface NodeEngine {
  readonly kind: EngineKind;
  /** Releases what its engines share, after the last one is closed. */
  close(): void;
}

/** Rejects with `INVALID_CONFIG` if a package cannot be loaded, or has no abstract-level database. */
export async function openNodeEngine(options: NodeEngineOptions): Promise<NodeEngine> {
  const { engine, writeBufferBytes, blockCacheBytes, maxOpenTables } = options;
  if (engine === memoryEngine.name) return ownEngine(memoryEngine);
  if (engine.startsWith(LEVEL)) return ownEngine(await levelPackage(engine));
  // Shared by all trees of the node.
  const resources = new LsmResources({
    blockCacheBytes,
    writeBufferBytes: 2 * writeBufferBytes,
    maxOpenTables,
  });
  return { kind: lsmEngine(options, resources), close: () => resources.close() };
}

/** The engine of a node that a program supplies. Throws `INVALID_CONFIG` for an invalid name. */
export function ownEngine(kind: EngineKind): NodeEngine {
  if (typeof kind.name === 'string' && GIVEN.test(kind.name)) return { kind, close() {} };
  throw new RaftreeError(
    'INVALID_CONFIG',
    `the name of a storage engine has 1 to 100 of the characters a-z A-Z 0-9 : @ / . _ -, not ${JSON.stringify(kind.name)}`,
  );
}

async function levelPackage(engine: string): Promise<EngineKind> {
  const name = engine.slice(LEVEL.length);
  let exported: Readonly<Record<string, unknown>>;
  try {
    exported = (await import(name)) as Readonly<Record<string, unknown>>;
  } catch (error) {
    throw new RaftreeError(
      'INVALID_CONFIG',
      `the package "${name}" of storage.engine cannot be loaded: ${errorMessage(error)}; install it beside raftree`,
      { cause: error },
    );
  }
  const Database = Object.values(exported).find(isDatabaseClass);
  if (!Database)
    throw new RaftreeError(
      'INVALID_CONFIG',
      `the package "${name}" of storage.engine has no abstract-level database`,
    );
  return levelEngine(engine, (location) => new Database(location));
}

function isDatabaseClass(value: unknown): value is new (location: string) => object {
  return (
    typeof value === 'function' &&
    ['open', 'batch', 'keys'].every((method) => method in (value.prototype ?? {}))
  );
}
