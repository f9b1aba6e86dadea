/** Module hooks (node:module's `register`): the patches of one mutation on their way from the disk to the engine. */
import { type Patch, patched, pathIn } from './mutation.js';

interface Loaded {
  readonly format: string;
  readonly source?: string | Uint8Array;
}

let patches: readonly Patch[] = [];

export function initialize(given: readonly Patch[]): void {
  patches = given;
}

export async function load(
  url: string,
  context: unknown,
  nextLoad: (url: string, context: unknown) => Promise<Loaded>,
): Promise<Loaded> {
  const loaded = await nextLoad(url, context);
  const file = patches.find((patch) => url.endsWith(`/${pathIn('dist', patch.file)}`))?.file;
  if (file === undefined || loaded.source === undefined) return loaded;
  const source = Buffer.from(loaded.source as Uint8Array).toString();
  return { ...loaded, source: patched(file, source, patches) };
}
