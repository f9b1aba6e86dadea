/** What a call of the client library fails with. */
import * as assert from 'uvu/assert';
import { RaftreeClientError } from '../../src/client/client-error.js';

export async function clientFailure(call: Promise<unknown>): Promise<RaftreeClientError> {
  const outcome = await call.then(
    () => undefined,
    (error: unknown) => error,
  );
  assert.instance(outcome, RaftreeClientError, 'it failed, with an error of the client library');
  return outcome as RaftreeClientError;
}
