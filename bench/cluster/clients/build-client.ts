/** The client of a build of Raftree, which may be another one than this. */
import * as path from 'node:path';
import { pathToFileURL } from 'node:url';

type ClientModule = typeof import('../../../src/client/client.js');

/** `main`: dist/src/cli/main.js of the build. Rejects where the build has no such client. */
export async function clientOf(main: string): Promise<ClientModule['RaftreeClient']> {
  const file = path.resolve(path.dirname(main), '../client/client.js');
  const { RaftreeClient } = (await import(pathToFileURL(file).href)) as ClientModule;
  return RaftreeClient;
}
