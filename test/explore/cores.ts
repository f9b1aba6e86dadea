/** Cores to explore, opened by hook.ts: as they are, or with a mutation. */
import { register } from 'node:module';
import type * as ConfigurationModule from '../../src/raft/configuration.js';
import type * as CodecModule from '../../src/raft/configuration-codec.js';
import type * as RaftModule from '../../src/raft/raft.js';

export interface CoreModules {
  readonly Raft: typeof RaftModule.Raft;
  readonly configurationOf: typeof ConfigurationModule.configurationOf;
  readonly decodeChange: typeof CodecModule.decodeChange;
}

/** The name of the core without a mutation. */
export const AS_IT_IS = 'as-it-is';

let isRegistered = false;

export async function loadCore(name: string): Promise<CoreModules> {
  if (!isRegistered) register('./hook.js', { parentURL: import.meta.url });
  isRegistered = true;
  const open = (file: string): Promise<unknown> =>
    import(new URL(`../../src/raft/${file}?core=${encodeURIComponent(name)}`, import.meta.url).href);
  const { Raft } = (await open('raft.js')) as typeof RaftModule;
  const { configurationOf } = (await open('configuration.js')) as typeof ConfigurationModule;
  const { decodeChange } = (await open('configuration-codec.js')) as typeof CodecModule;
  return { Raft, configurationOf, decodeChange };
}
