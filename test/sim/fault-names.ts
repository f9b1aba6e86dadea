/** The faults there are, and the profile that a run of only their kind has. */
export const FAULTS = [
  { name: 'partition', profile: 'network' },
  { name: 'oneWayCut', profile: 'network' },
  { name: 'isolateLeader', profile: 'network' },
  { name: 'clogLinks', profile: 'network' },
  { name: 'cutClient', profile: 'network' },
  { name: 'slowLinks', profile: 'network' },
  { name: 'breakConnections', profile: 'network' },
  { name: 'messageFaults', profile: 'network' },
  { name: 'kill', profile: 'crash' },
  { name: 'killLeader', profile: 'crash' },
  { name: 'killBetweenOperations', profile: 'crash' },
  { name: 'powerCut', profile: 'crash' },
  { name: 'powerCutOfAll', profile: 'crash' },
  { name: 'orderlyRestart', profile: 'crash' },
  { name: 'pause', profile: 'crash' },
  { name: 'clockDrift', profile: 'crash' },
  { name: 'wallClockJump', profile: 'crash' },
  { name: 'slowDisk', profile: 'disk' },
  { name: 'diskStall', profile: 'disk' },
  { name: 'fullDisk', profile: 'disk' },
  { name: 'failedSync', profile: 'disk' },
  { name: 'failedRead', profile: 'disk' },
  { name: 'bitFlip', profile: 'disk' },
  { name: 'replacedDisk', profile: 'disk' },
] as const;

export type FaultName = (typeof FAULTS)[number]['name'];
