/** shards: the tablets of the cluster, which keys they own, and which node leads each. */
import type { Command } from 'commander';
import type { LocatedTablet, LocatedTablets } from '../client/tablet-cache.js';
import { TabletMap } from '../placement/tablet-map.js';
import { type CommonOptions, withClient, withClientOptions } from './client-options.js';
import { examples } from './examples.js';
import { printLine, printTable } from './output.js';

interface ShardsOptions extends CommonOptions {
  readonly key?: string;
}

export function addShardsCommand(program: Command): void {
  withClientOptions(
    program.command('shards').description('show the tablets, and which node leads each'),
    5000,
  )
    .option('--key <key>', 'only the tablet that owns this key')
    .addHelpText('after', examples(['raftree shards', 'raftree shards --key user/7 --json']))
    .action(async (options: ShardsOptions) => {
      const located = await withClient(options, (client) => client.tablets());
      const shown = options.key === undefined ? located.tablets : ownerOf(located, options.key);
      if (options.json) {
        printLine(JSON.stringify({ by: located.by, tablets: shown.map(jsonOf) }));
        return;
      }
      printTable(
        ['tablet', located.by === 'hash' ? 'hashes from' : 'keys from', 'up to', 'leader', 'nodes'],
        shown.map((tablet) => [
          String(tablet.id),
          boundText(located, tablet.start),
          tablet.end ? boundText(located, tablet.end) : 'the end',
          tablet.leader === 0 ? '-' : String(tablet.leader),
          tablet.replicas.join(' '),
        ]),
      );
    });
}

function ownerOf({ by, tablets }: LocatedTablets, key: string): readonly LocatedTablet[] {
  const owner = new TabletMap(by, tablets).ownerOf(Buffer.from(key));
  return tablets.filter(({ id }) => id === owner?.id);
}

function jsonOf({ id, start, end, generation, leader, replicas }: LocatedTablet) {
  const base64 = (bound: Uint8Array) => Buffer.from(bound).toString('base64');
  const range = { startBase64: base64(start), endBase64: end ? base64(end) : null };
  return { id, ...range, generation, leader: leader === 0 ? null : leader, replicas };
}

function boundText({ by }: LocatedTablets, bound: Uint8Array): string {
  if (bound.length === 0) return 'the first';
  return by === 'hash' ? Buffer.from(bound).toString('hex') : JSON.stringify(Buffer.from(bound).toString());
}
