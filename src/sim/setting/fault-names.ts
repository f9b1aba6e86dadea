/**
 * All faults. A profile is a run with faults of one kind only. `mistakes` are those of operators; `strangers` are
 * programs on the network that do not belong to the cluster.
 */
export const FAULTS = [
  { name: 'partition', profile: 'network' },
  { name: 'oneWayCut', profile: 'network' },
  { name: 'isolateLeader', profile: 'network' },
  { name: 'cutNewLeaders', profile: 'network' },
  { name: 'clogLinks', profile: 'network' },
  { name: 'cutClient', profile: 'network' },
  { name: 'slowLinks', profile: 'network' },
  { name: 'narrowLinks', profile: 'network' },
  { name: 'breakConnections', profile: 'network' },
  { name: 'forgetConnections', profile: 'network' },
  { name: 'messageFaults', profile: 'network' },
  { name: 'kill', profile: 'crash' },
  { name: 'killLeader', profile: 'crash' },
  { name: 'killBetweenOperations', profile: 'crash' },
  { name: 'powerCut', profile: 'crash' },
  { name: 'powerCutOfSome', profile: 'crash' },
  { name: 'powerCutOfAll', profile: 'crash' },
  { name: 'orderlyRestart', profile: 'crash' },
  { name: 'pause', profile: 'crash' },
  { name: 'pauseLeader', profile: 'crash' },
  { name: 'shortStall', profile: 'crash' },
  { name: 'clockDrift', profile: 'crash' },
  { name: 'wallClockJump', profile: 'crash' },
  { name: 'clockJump', profile: 'crash' },
  { name: 'slowDisk', profile: 'disk' },
  { name: 'diskStall', profile: 'disk' },
  { name: 'fullDisk', profile: 'disk' },
  { name: 'failedSync', profile: 'disk' },
  { name: 'failedRead', profile: 'disk' },
  { name: 'bitFlip', profile: 'disk' },
  { name: 'replacedDisk', profile: 'disk' },
  { name: 'editedNodeJson', profile: 'mistakes' },
  { name: 'emptiedFolder', profile: 'mistakes' },
  { name: 'partlyEmptiedFolder', profile: 'mistakes' },
  { name: 'copiedFolder', profile: 'mistakes' },
  { name: 'foreignNode', profile: 'mistakes' },
  { name: 'wrongCommand', profile: 'mistakes' },
  { name: 'strangeBytes', profile: 'strangers' },
  { name: 'lyingPeer', profile: 'strangers' },
  { name: 'madeUpNodes', profile: 'strangers' },
  { name: 'heldConnections', profile: 'strangers' },
  { name: 'replayedFrames', profile: 'strangers' },
  { name: 'strangeClient', profile: 'strangers' },
] as const;

type Fault = (typeof FAULTS)[number];

export type FaultName = Fault['name'];
/** The faults of one profile. */
export type FaultOf<P extends Fault['profile']> = Extract<Fault, { profile: P }>['name'];

/** The names that belong to these profiles. */
export function faultsOf<P extends Fault['profile']>(
  profiles: readonly P[],
  names: readonly FaultName[],
): readonly FaultOf<P>[] {
  const ofProfiles = new Set<FaultName>(
    FAULTS.filter(({ profile }) => profiles.some((one) => one === profile)).map(({ name }) => name),
  );
  return names.filter((name): name is FaultOf<P> => ofProfiles.has(name));
}
