/**
 * Module hooks (node:module's `register`) that open the core for exploration: a module of `src/raft` imported with
 * `?core=NAME` has its private fields (`#name`) renamed to ordinary ones (`_name`), so that a core can be copied and
 * compared, and the mutation of that name applied. What it imports from `src/raft` is opened alike, so each name has a
 * core of its own in one process.
 */
import { MUTATIONS } from './mutations.js';

interface Resolved {
  readonly url: string;
}

interface Loaded {
  readonly format: string;
  readonly source?: string | Uint8Array;
}

interface Context {
  readonly parentURL?: string;
}

const OPENED = /\/src\/raft\/([\w-]+\.js)$/;

function nameIn(url: string | undefined): string | undefined {
  return url === undefined ? undefined : (new URL(url).searchParams.get('core') ?? undefined);
}

export async function resolve(
  specifier: string,
  context: Context,
  nextResolve: (specifier: string, context: Context) => Promise<Resolved>,
): Promise<Resolved> {
  const resolved = await nextResolve(specifier, context);
  const name = nameIn(context.parentURL);
  if (name === undefined || !OPENED.test(resolved.url)) return resolved;
  return { ...resolved, url: `${resolved.url}?core=${encodeURIComponent(name)}` };
}

export async function load(
  url: string,
  context: unknown,
  nextLoad: (url: string, context: unknown) => Promise<Loaded>,
): Promise<Loaded> {
  const loaded = await nextLoad(url, context);
  const name = nameIn(url);
  const file = OPENED.exec(new URL(url).pathname)?.[1];
  if (name === undefined || file === undefined || loaded.source === undefined) return loaded;
  let source = Buffer.from(loaded.source as Uint8Array).toString();
  for (const patch of MUTATIONS.find((mutation) => mutation.name === name)?.patches ?? []) {
    if (patch.file !== file) continue;
    const places = source.split(patch.find).length - 1;
    if (places !== 1)
      throw new Error(`"${patch.find}" is at ${places} places in ${file}: "${name}" cannot be planted`);
    source = source.replace(patch.find, () => patch.replace);
  }
  // A table of sizes for thousands of entries would be copied with every core.
  source = source.replace('new Uint32Array(1024)', 'new Uint32Array(32)');
  return { ...loaded, source: source.replace(/#([a-zA-Z]\w*)/g, '_$1') };
}
