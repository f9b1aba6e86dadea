/** What an operator is told of an order that is not carried out. */
import type { RunCluster } from '../run/run-cluster.js';

/** Refused, or not known whether it is done. */
const REFUSALS =
  /^(?:CHANGE_|MAP_UNAVAILABLE$|NO_LEADER$|NOT_LEADER$|NOT_A_MEMBER$|MEMBER_|ORDER_|QUORUM_|TIMEOUT$|UNREACHABLE$)/;
/** The call has not reached its end. */
const INTERRUPTIONS =
  /^(?:CLIENT_CLOSED|CONNECTION_LOST|ATTEMPT_TIMEOUT|HELLO_TIMEOUT|LEADERSHIP_LOST|OVERLOADED|SHUTTING_DOWN|NODE_REMOVED|DISK_FULL)$/;

/** Whether it was refused. Breaks a rule for a code that no operator should see. */
export function isRefused(cluster: RunCluster, host: string, order: string, code: string): boolean {
  if (REFUSALS.test(code)) return true;
  if (!INTERRUPTIONS.test(code)) cluster.unexpectedAnswer(host, code, `the answer to ${order}`);
  return false;
}
