/** shards: the map of the cluster: which keys each tablet owns, how large it is, who leads it and who holds it. */
import type { Command } from 'commander';
import type { LocatedTablet, LocatedTablets } from '../client/tablet-cache.js';
import { TabletMap } from '../placement/tablet-map.js';
import { type CommonOptions, withClient, withClientOptions } from './client-options.js';
import { examples } from './examples.js';
import { printLine, printTable } from './output.js';

const BAR_CELLS = 10;
const SIZE_CELLS = 8;
const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];

interface ShardsOptions extends CommonOptions {
  readonly key?: string;
}

export function addShardsCommand(program: Command): void {
  withClientOptions(
    program
      .command('shards')
      .description('show the tablets: their keys, sizes and leaders, and the nodes that hold them'),
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
      const largest = shown.reduce((most, { sizeBytes = 0 }) => Math.max(most, sizeBytes), 0);
      printTable(
        [
          ...['tablet', located.by === 'hash' ? 'hashes from' : 'keys from', 'up to'],
          ...['generation', 'size', 'leader', 'nodes'],
        ],
        shown.map((tablet) => [
          String(tablet.id),
          boundText(located, tablet.start),
          tablet.end ? boundText(located, tablet.end) : 'the end',
          String(tablet.generation),
          sizeText(tablet, shown.length > 1 ? largest : 0),
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

/** With a bar as long as its part of the largest; 0: without a bar. */
function sizeText({ sizeBytes }: LocatedTablet, largest: number): string {
  if (sizeBytes === undefined) return '-';
  const bar = largest > 0 ? '█'.repeat(Math.round((BAR_CELLS * sizeBytes) / largest)) : '';
  return `${inUnits(sizeBytes).padStart(SIZE_CELLS)} ${bar}`.trimEnd();
}

function inUnits(bytes: number): string {
  const power = bytes < 1024 ? 0 : Math.min(UNITS.length - 1, Math.floor(Math.log2(bytes) / 10));
  const amount = bytes / 1024 ** power;
  return `${amount < 10 && power > 0 ? amount.toFixed(1) : Math.round(amount)} ${UNITS[power]}`;
}

function jsonOf({ id, start, end, generation, sizeBytes, leader, replicas }: LocatedTablet) {
  const base64 = (bound: Uint8Array) => Buffer.from(bound).toString('base64');
  const range = { startBase64: base64(start), endBase64: end ? base64(end) : null };
  return {
    id,
    ...range,
    generation,
    sizeBytes: sizeBytes ?? null,
    leader: leader === 0 ? null : leader,
    replicas,
  };
}

function boundText({ by }: LocatedTablets, bound: Uint8Array): string {
  if (bound.length === 0) return 'the first';
  return by === 'hash' ? Buffer.from(bound).toString('hex') : JSON.stringify(Buffer.from(bound).toString());
}
