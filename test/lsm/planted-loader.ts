/**
 * Module hooks (`register` of node:module) that put a bug into a module of the house. What is imported with
 * `?planted=NAME`, and all that it imports, is a second copy of the modules, in which the plant of that name has
 * replaced a piece of one module's text. Sources know nothing of it.
 */
export interface Plant {
  /** The end of the module's path. */
  readonly module: string;
  /** A regular expression that the text must match. */
  readonly find: string;
  readonly replace: string;
}

interface Context {
  readonly parentURL?: string;
}

interface Resolved {
  readonly url: string;
}

interface Loaded {
  readonly source?: string | Uint8Array;
}

let plants: Readonly<Record<string, Plant>> = {};

export function initialize(data: Readonly<Record<string, Plant>>): void {
  plants = data;
}

export async function resolve(
  specifier: string,
  context: Context,
  next: (specifier: string, context: Context) => Promise<Resolved>,
): Promise<Resolved> {
  const resolved = await next(specifier, context);
  const name = plantOf(context.parentURL);
  const isOurs = resolved.url.startsWith('file:') && !resolved.url.includes('/node_modules/');
  if (name === undefined || !isOurs || plantOf(resolved.url) !== undefined) return resolved;
  return { ...resolved, url: `${resolved.url}?planted=${name}` };
}

export async function load<C>(
  url: string,
  context: C,
  next: (url: string, context: C) => Promise<Loaded>,
): Promise<Loaded> {
  const loaded = await next(url, context);
  const plant = plants[plantOf(url) ?? ''];
  if (!plant || !new URL(url).pathname.endsWith(plant.module)) return loaded;
  const text = Buffer.from(loaded.source ?? '').toString();
  const changed = text.replace(new RegExp(plant.find), plant.replace);
  if (changed === text) throw new Error(`the planted bug ${plant.find} does not fit ${url} any more`);
  return { ...loaded, source: changed };
}

function plantOf(url: string | undefined): string | undefined {
  return url === undefined ? undefined : /[?&]planted=([\w-]+)/.exec(url)?.[1];
}
