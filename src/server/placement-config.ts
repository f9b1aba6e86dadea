/** `placement` of node.json: how the keys of a new cluster are divided into tablets. */

import { z } from 'zod';
import type { MergeSettings } from '../balance/merge-plan.js';
import {
  MAX_FIRST_TABLETS,
  ONE_TABLET,
  type Placement,
  placementByHash,
  placementByRange,
  splitsProblem,
} from '../placement/placement.js';

export const placementSchema = z
  .strictObject({
    by: z.enum(['range', 'hash']),
    /** How many tablets the cluster begins with. By range there is one more than `splits` has keys. */
    tablets: z.int().min(1).max(MAX_FIRST_TABLETS).optional(),
    /** By range: the keys at which the second and each further tablet begins. */
    splits: z
      .array(z.string())
      .max(MAX_FIRST_TABLETS - 1)
      .optional(),
    /** How many of the "nodes" hold each tablet; without it all do. A cluster of one tablet has it on all nodes. */
    replicas: z.int().min(1).optional(),
    /** A tablet that this node leads is split when its keys take more. It may differ between nodes. */
    maxTabletBytes: z
      .int()
      .min(64 * 1024)
      .max(1024 ** 4)
      .optional(),
    /** Neighbours on the same nodes that have less together are merged by the balancer; 0, the default: none are. */
    minTabletBytes: z
      .int()
      .min(0)
      .max(2 ** 40)
      .optional(),
    /** A tablet that this node leads is split when it is asked more for some time; 0: never. It may differ, too. */
    maxTabletOperationsPerSecond: z.int().min(0).max(1_000_000_000).optional(),
  })
  .optional();

export type PlacementConfig = z.output<typeof placementSchema>;

/** When tablets are split by themselves. */
export interface SplitSettings {
  readonly maxTabletBytes: number;
  /** 0: never. */
  readonly maxTabletOperationsPerSecond: number;
}

export const DEFAULT_SPLIT_SETTINGS: SplitSettings = {
  maxTabletBytes: 256 * 1024 * 1024,
  maxTabletOperationsPerSecond: 20_000,
};

/** A cluster that keeps no map yet is split by its load only if node.json says so: it may be small, and stay so. */
export function splitSettingsOf(given: PlacementConfig, keepsMap: boolean): SplitSettings {
  const {
    maxTabletBytes = DEFAULT_SPLIT_SETTINGS.maxTabletBytes,
    maxTabletOperationsPerSecond = keepsMap ? DEFAULT_SPLIT_SETTINGS.maxTabletOperationsPerSecond : 0,
  } = given ?? {};
  return { maxTabletBytes, maxTabletOperationsPerSecond };
}

export function mergeSettingsOf(given: PlacementConfig, { tablets }: Placement): MergeSettings {
  return { minTabletBytes: given?.minTabletBytes ?? 0, leastTablets: tablets };
}

/** A merge copies all of both tablets, and their clients wait meanwhile. */
const MAX_MERGED_BYTES = 64 * 1024 * 1024;

/** Two tablets that have more together are not merged: it would take long, or they would be split again soon. */
export function maxMergedBytesOf(given: PlacementConfig): number {
  return Math.min(MAX_MERGED_BYTES, splitSettingsOf(given, true).maxTabletBytes / 2);
}

/** Nodes announce them to each other in one frame. */
const MAX_SPLITS_BYTES = 32 * 1024;

type Fault = (at: readonly (string | number)[], message: string) => void;

/** `founders`: how many nodes node.json lists. */
export function checkPlacementConfig(
  given: PlacementConfig,
  founders: number,
  joins: boolean,
  fault: Fault,
): void {
  if (!given) return;
  const { by, tablets, splits, replicas, minTabletBytes = 0 } = given;
  const mostMergedBytes = Math.floor(maxMergedBytesOf(given) / 2);
  if (minTabletBytes > mostMergedBytes)
    fault(
      ['minTabletBytes'],
      `expected at most ${mostMergedBytes}, a quarter of "maxTabletBytes" and 32 MiB: what is merged is not to be split again soon`,
    );
  if (by === 'hash') {
    if (tablets === undefined) fault(['tablets'], 'expected how many tablets the cluster begins with');
    if (splits !== undefined)
      fault(['splits'], 'expected nothing: by hash, tablets divide the ring of hashes evenly');
  } else {
    const problem = splitsProblem(splits ?? []);
    if (problem !== undefined) fault(['splits'], problem);
    const sizeBytes = Buffer.byteLength((splits ?? []).join(''));
    if (sizeBytes > MAX_SPLITS_BYTES)
      fault(['splits'], `expected at most ${MAX_SPLITS_BYTES} bytes together, not ${sizeBytes}`);
    const count = (splits?.length ?? 0) + 1;
    if (tablets !== undefined && tablets !== count) {
      fault(
        ['tablets'],
        `expected ${count}, one more than "splits" has keys: by range, "splits" says at which keys tablets begin`,
      );
    }
  }
  if (replicas === undefined || joins) return;
  const isOne = (by === 'hash' ? tablets : (splits?.length ?? 0) + 1) === 1;
  if (replicas > founders) fault(['replicas'], `expected at most ${founders}, the number of "nodes"`);
  else if (isOne && replicas !== founders)
    fault(
      ['replicas'],
      `expected ${founders}, the number of "nodes", or nothing: one tablet is on all nodes`,
    );
}

/** Undefined: it joins a cluster, and takes what that has. */
export function placementOf(given: PlacementConfig, joins: boolean): Placement | undefined {
  if (!given) return joins ? undefined : ONE_TABLET;
  const { by, tablets = 1, splits = [], replicas = 0 } = given;
  const held = tablets === 1 && splits.length === 0 ? 0 : replicas;
  return by === 'hash' ? placementByHash(tablets, held) : placementByRange(splits, held);
}
