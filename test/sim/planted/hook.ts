/** Module hooks (node:module's `register`): the patches of one planted bug on their way from the disk to the engine. */
import type { Patch } from './bugs.js';

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
  const wanted = patches.filter(({ file }) => url.endsWith(`/dist/src/${file}`));
  if (wanted.length === 0 || loaded.source === undefined) return loaded;
  let source = Buffer.from(loaded.source as Uint8Array).toString();
  for (const { file, find, replace } of wanted) {
    const places = [...source.matchAll(new RegExp(find, 'g'))].length;
    if (places !== 1) throw new Error(`${find} is at ${places} places in ${file}: the bug cannot be planted`);
    source = source.replace(new RegExp(find), () => replace);
  }
  return { ...loaded, source };
}
