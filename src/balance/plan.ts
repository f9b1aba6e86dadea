/**
 * The balancer: what to do next, so that every tablet has its replicas, far apart, and every node its share. It is a
 * function of its arguments. The leader of meta calls it (server/balancer.ts).
 *
 *     1  what is under way goes on                           under-way.ts
 *     2  dead replicas are replaced, surplus ones go         replace.ts
 *     3  nodes that drain are emptied
 *     4  replicas of a tablet go to zones and hosts of their own
 *     5  each node gets its share of replicas, then of bytes even-out.ts
 *     6  then of leaders, then of load                       leaders.ts
 *
 * Each step sees the cluster as it will be when the orders before it, and all that is under way, are done. So the same
 * state gives no move twice.
 *
 * Why it comes to an end. Steps 2 to 4 each make a tablet better than it was, and the steps behind them keep that: a
 * replica never goes where it would be nearer to another of its tablet, or to a node that is not heard of. A move of
 * step 5 or 6 makes the sum of the squares of all differences from the shares smaller, for its own measure, and takes
 * no node out of the band of a measure before it. Within its band a node is left alone.
 */
import type { BalanceSettings, ClusterMap, Reports } from './cluster-map.js';
import { ClusterView } from './cluster-view.js';
import { evenOut } from './even-out.js';
import { evenOutLeaders } from './leaders.js';
import type { Order } from './orders.js';
import { drain, repair, spread } from './replace.js';
import { Shares } from './shares.js';
import { driveOn } from './under-way.js';

/** All steps of `planInSteps`, one after the other. */
export function plan(...known: Parameters<typeof planInSteps>): readonly Order[] {
  const steps = planInSteps(...known);
  for (;;) {
    const step = steps.next();
    if (step.done) return step.value;
  }
}

/**
 * Whoever plans for thousands of tablets has other things to do meanwhile: after each step it may do them. What it
 * planned from must not change; that the cluster changes is no harm, as each order names what it expects.
 */
export function* planInSteps(
  map: ClusterMap,
  reports: Reports,
  settings: BalanceSettings,
  nowMs: number,
): Generator<void, readonly Order[]> {
  const view = new ClusterView(map, reports, settings, nowMs);
  yield* view.fill(map, reports);
  const { nodes } = view;
  const { band } = settings;
  yield* driveOn(view);
  const replicas = new Shares(nodes, ({ tablets }) => tablets.size, band, 1);
  if (!settings.drainsOnly) yield* repair(view, replicas);
  yield* drain(view, replicas);
  if (settings.drainsOnly) return view.orders;
  yield* spread(view, replicas);
  yield* evenOut(view, { shares: replicas, amountOf: () => 1, kept: undefined, reason: 'replicas' });
  const bytes = new Shares(nodes, ({ sizeBytes }) => sizeBytes, band, settings.leastBytes);
  yield* evenOut(view, {
    shares: bytes,
    amountOf: ({ sizeBytes }) => sizeBytes,
    kept: replicas,
    reason: 'bytes',
  });
  // To give a leader costs little: a node that leads nothing is to get one also where a share is one.
  const leaders = new Shares(nodes, (node) => node.leaders, band, 0.9);
  yield* evenOutLeaders(
    view,
    { shares: leaders, amountOf: () => 1, kept: undefined, reason: 'leaders' },
    () => true,
  );
  const load = new Shares(
    nodes,
    ({ operationsPerSecond }) => operationsPerSecond,
    4 * band,
    settings.leastOperationsPerSecond,
  );
  yield* evenOutLeaders(
    view,
    {
      ...{ shares: load, kept: leaders, reason: 'load' },
      amountOf: ({ operationsPerSecond }) => operationsPerSecond,
    },
    ({ isLoadKnown }) => isLoadKnown,
  );
  return view.orders;
}
