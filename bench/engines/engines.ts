/**
 * The engines that can be compared, by the names that `--peers` takes. The modules of those not named are not loaded.
 */
import type { Engine, EngineOptions } from './engine.js';

export const OURS = 'raftree';

type Load = (options: EngineOptions) => Promise<Engine>;

const LOADERS: Readonly<Record<string, Load>> = {
  [OURS]: async (options) => new (await import('./raftree-engine.js')).RaftreeEngine(options),
  'raftree/level': async (options) => new (await import('./level-engine.js')).RaftreeLevelEngine(options),
  'classic-level': async (options) => new (await import('./level-engine.js')).ClassicLevelEngine(options),
  lmdb: async (options) => new (await import('./lmdb-engine.js')).LmdbEngine(options),
};

export const ENGINE_NAMES: readonly string[] = Object.keys(LOADERS);

export async function newEngine(name: string, options: EngineOptions): Promise<Engine> {
  const load = LOADERS[name];
  if (!load) throw new Error(`${name} is none of ${ENGINE_NAMES.join(', ')}`);
  return load(options);
}
