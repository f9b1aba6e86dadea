/** The options that all reading commands share. */
import { type Command, Option } from 'commander';
import type { ReadLevel, ReadOptions } from '../client/client-options.js';
import { type CommonOptions, withClientOptions } from './client-options.js';
import { UsageError } from './exit-codes.js';

export interface ReadCommandOptions extends CommonOptions {
  readonly stale?: true;
  readonly level?: ReadLevel;
}

const LEVELS: readonly ReadLevel[] = ['linearizable', 'lease', 'follower', 'stale'];

export function withReadOptions(command: Command, defaultTimeoutMs?: number): Command {
  return withClientOptions(command, defaultTimeoutMs)
    .addOption(
      new Option(
        '--level <level>',
        'linearizable (default); lease: from the leader while its lease holds; ' +
          'follower: from any node, which asks the leader for its commit index; stale: from any node, however old',
      ).choices(LEVELS),
    )
    .option('--stale', 'short for --level stale');
}

/** With a single endpoint, and a level that any node can answer, only that node is asked. */
export function readOptions(options: ReadCommandOptions): ReadOptions {
  const { stale, endpoints } = options;
  const level = options.level ?? (stale ? 'stale' : 'linearizable');
  if (stale && level !== 'stale') throw new UsageError(`--stale contradicts --level ${level}`);
  const [only, ...others] = endpoints;
  const anywhere = level === 'follower' || level === 'stale';
  return anywhere && only !== undefined && others.length === 0 ? { level, endpoint: only } : { level };
}
