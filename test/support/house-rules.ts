/** The rules that the sources keep, as functions from a file's name and text to the problems found in it. */
import { builtinModules } from 'node:module';
import * as path from 'node:path';

/** A room imports only from rooms of a lower number. */
export const FLOORS: Readonly<Record<string, number>> = {
  env: 0,
  metrics: 0,
  placement: 1,
  record: 1,
  net: 1,
  lsm: 2,
  raft: 2,
  security: 2,
  'raft-log': 3,
  balance: 3,
  level: 3,
  replica: 4,
  store: 5,
  engines: 4,
  kv: 5,
  // Above kv: messages carry what kv offers, and kv knows no wire.
  protocol: 6,
  meta: 6,
  client: 7,
  // Above client: a node that does not lead passes on what it is asked.
  doors: 8,
  server: 9,
  cli: 10,
  embed: 10,
  keyv: 10,
  sim: 10,
};

/** Floors within a room, by folder or single file; `.` is the room's own files. They follow the same rule. */
export const INNER_FLOORS: Readonly<Record<string, Readonly<Record<string, number>>>> = {
  doors: { '.': 0, native: 1, http: 1, resp: 1 },
  kv: { watch: 0, '.': 1 },
  lsm: {
    base: 0,
    memtable: 1,
    table: 1,
    wal: 2,
    'resources.ts': 2,
    'options.ts': 3,
    version: 4,
    read: 5,
    compaction: 6,
    write: 7,
    directory: 7,
    tools: 8,
    '.': 9,
  },
  sim: {
    world: 0,
    cluster: 1,
    rules: 1,
    setting: 1,
    run: 2,
    nemesis: 3,
    workload: 3,
    '.': 4,
  },
};

/** What the package offers; only these may pass on whole modules. */
export const PUBLIC_ENTRIES = [
  'src/index.ts',
  'src/lsm/index.ts',
  'src/level/index.ts',
  'src/raft/index.ts',
  'src/client/index.ts',
  'src/keyv/index.ts',
];

/** Functions of their inputs: nothing in them is time, chance or the outside. */
const PURE_MODULES = ['node:path', 'node:zlib', 'node:util', 'node:buffer', 'node:events'];

const WORLDLY_GLOBALS = [
  'Date',
  'performance',
  'setTimeout',
  'setInterval',
  'setImmediate',
  'queueMicrotask',
  'crypto',
  'fetch',
];
const WORLDLY_CALLS = ['process.hrtime', 'process.nextTick', 'Math.random', 'AbortSignal.timeout'];

export interface Exemption {
  /** A file, or a folder ending in `/`. */
  readonly where: string;
  /** Modules, globals and calls that may be used there. */
  readonly allowed: readonly string[];
  readonly reason: string;
}

/**
 * The text with comments blanked and, unless `keepStrings`, the insides of strings and regular expressions too; what
 * stands in `${}` of a template stays. Line breaks stay, so that line numbers hold.
 */
export function codeOf(source: string, keepStrings = false): string {
  let code = '';
  let at = 0;
  const blank = (end: number, keep: boolean) => {
    code += keep ? source.slice(at, end) : source.slice(at, end).replace(/[^\n]/g, ' ');
    at = end;
  };
  /** For each `${` that is open: how many braces are open within it. */
  const templates: number[] = [];
  const templateChunk = () => {
    const end = /(?:\\[\s\S]|(?!\$\{)[^\\`])*/y;
    end.lastIndex = at;
    end.exec(source);
    blank(end.lastIndex, keepStrings);
    if (source.startsWith('${', at)) {
      templates.push(0);
      blank(at + 2, true);
    } else blank(at + 1, true);
  };
  while (at < source.length) {
    const rest = source.slice(at, at + 2);
    const char = source[at] as string;
    if (rest === '//') {
      const end = source.indexOf('\n', at);
      blank(end < 0 ? source.length : end, false);
    } else if (rest === '/*') {
      const end = source.indexOf('*/', at + 2);
      blank(end < 0 ? source.length : end + 2, false);
    } else if (char === "'" || char === '"') {
      const string = char === "'" ? /'(?:\\[\s\S]|[^\\'\n])*'?/y : /"(?:\\[\s\S]|[^\\"\n])*"?/y;
      string.lastIndex = at;
      string.exec(source);
      const end = string.lastIndex;
      blank(at + 1, true);
      blank(Math.max(at, end - 1), keepStrings);
      blank(end, true);
    } else if (char === '/' && /(?:^|[(,=:[!&|?{};>\n]|\breturn|\bcase)\s*$/.test(code.slice(-40))) {
      const expression = /\/(?:\\.|\[(?:\\.|[^\]\\\n])*\]|[^\\/\n[])+\/?/y;
      expression.lastIndex = at;
      blank(expression.exec(source) ? expression.lastIndex : at + 1, keepStrings);
    } else if (char === '`') {
      blank(at + 1, true);
      templateChunk();
    } else if (templates.length > 0 && (char === '{' || char === '}')) {
      const open = templates.length - 1;
      const depth = (templates[open] as number) + (char === '{' ? 1 : -1);
      blank(at + 1, true);
      if (depth >= 0) templates[open] = depth;
      else {
        templates.pop();
        templateChunk();
      }
    } else blank(at + 1, true);
  }
  return code;
}

/** Every module a source names: imports and re-exports, of types too, dynamic ones, and worker entries. */
export function importsOf(source: string): string[] {
  const code = codeOf(source, true);
  const patterns = [
    /(?:^|[\n;}])\s*(?:import|export)\b[^'"`;()]*?\bfrom\s*['"]([^'"]+)['"]/g,
    /(?:^|[\n;}])\s*import\s*['"]([^'"]+)['"]/g,
    /\b(?:import|require)\s*\(\s*['"`]([^'"`]+)['"`]/g,
    /\bnew URL\s*\(\s*['"`](\.[^'"`]+)['"`]\s*,\s*import\.meta\.url/g,
  ];
  return patterns.flatMap((pattern) => [...code.matchAll(pattern)].map((match) => match[1] as string));
}

export function roomOf(file: string): string | undefined {
  return /^src\/([^/]+)\//.exec(file)?.[1];
}

/** A line of prose is at most so long; Biome holds the code to less. */
const MAX_PROSE_CHARACTERS = 120;

/** Lines of a comment, or of a Markdown page outside its tables and listings, that are too long. */
export function longLineProblems(file: string, text: string): string[] {
  let isListing = false;
  const code = file.endsWith('.md') ? undefined : codeOf(text, true).split('\n');
  const isProse = (line: string, i: number) => {
    if (code) return (code[i]?.trimEnd().length ?? 0) < line.trimEnd().length;
    const isFence = /^\s*```/.test(line);
    if (isFence) isListing = !isListing;
    return !isFence && !isListing && !/^\s*\|/.test(line);
  };
  return text.split('\n').flatMap((line, i) => {
    const characters = [...line].length;
    return isProse(line, i) && characters > MAX_PROSE_CHARACTERS
      ? [`${file}:${i + 1}: ${characters} characters; a line of prose has at most ${MAX_PROSE_CHARACTERS}`]
      : [];
  });
}

/** Source files that a page names in backquotes, by path (from the root or `src/`) or name, and that are not there. */
export function namedFileProblems(page: string, text: string, files: readonly string[]): string[] {
  const named = [...text.matchAll(/`([\w./-]+\.ts)`/g)].map((match) => match[1] as string);
  const isThere = (name: string) =>
    files.some((file) => file === name || file === `src/${name}` || file.endsWith(`/${name}`));
  return [...new Set(named)].filter((name) => !isThere(name)).map((name) => `${page}: there is no ${name}`);
}

export function floorProblems(file: string, source: string): string[] {
  if (file === 'src/index.ts') return [];
  const room = roomOf(file);
  const floor = FLOORS[room ?? ''];
  if (room === undefined || floor === undefined) return [`${file}: it is in no room that has a floor`];
  const problems: string[] = [];
  for (const specifier of importsOf(source)) {
    if (!specifier.startsWith('.')) continue;
    const target = path.posix.join(path.posix.dirname(file), specifier);
    const targetRoom = roomOf(target);
    if (target === 'package.json') continue;
    if (targetRoom === room) {
      problems.push(...innerFloorProblems(room, file, target));
      continue;
    }
    const targetFloor = FLOORS[targetRoom ?? ''];
    if (targetFloor === undefined) problems.push(`${file}: imports ${specifier}, which is in no room`);
    else if (targetFloor >= floor) {
      problems.push(`${file}: ${room} (floor ${floor}) imports from ${targetRoom} (floor ${targetFloor})`);
    }
  }
  return problems;
}

function innerFloorProblems(room: string, file: string, target: string): string[] {
  const floors = INNER_FLOORS[room];
  if (!floors) return [];
  const [from, to] = [innerPlaceOf(floors, file), innerPlaceOf(floors, target)];
  if (from === to) return [];
  const [floor, targetFloor] = [floors[from], floors[to]];
  if (floor === undefined || targetFloor === undefined)
    return [`${file}: ${room}/${floor === undefined ? from : to} has no floor`];
  if (targetFloor < floor) return [];
  return [`${file}: ${room}/${from} (floor ${floor}) imports from ${room}/${to} (floor ${targetFloor})`];
}

/** The single file that has a floor of its own, the folder, or `.`. */
function innerPlaceOf(floors: Readonly<Record<string, number>>, file: string): string {
  const [, , first = '', ...rest] = file.replace(/\.js$/, '.ts').split('/');
  if (rest.length > 0) return first;
  return first in floors ? first : '.';
}

/** What a file outside `env/` takes from the world without asking `env`: modules, globals, calls. */
export function worldlyUses(source: string): string[] {
  const code = codeOf(source);
  const modules = importsOf(source).filter(
    (name) =>
      (name.startsWith('node:') || builtinModules.includes(name.split('/')[0] as string)) &&
      !PURE_MODULES.includes(name),
  );
  const globals = WORLDLY_GLOBALS.filter((name) =>
    new RegExp(`(?:(?<![\\w$.#])|(?<=\\.\\.\\.)|\\b(?:globalThis|global)\\.)${name}\\b(?!\\s*\\??:)`).test(
      code,
    ),
  );
  const calls = WORLDLY_CALLS.filter((name) => {
    const [object, member] = name.split('.') as [string, string];
    return (
      new RegExp(`\\b${object}\\s*\\??\\.\\s*${member}\\b`).test(code) ||
      new RegExp(`\\{[^{}]*\\b${member}\\b[^{}]*\\}\\s*=\\s*${object}\\b`).test(code)
    );
  });
  return [...new Set([...modules, ...globals, ...calls])];
}

export function seamProblems(file: string, source: string, exemptions: readonly Exemption[]): string[] {
  if (roomOf(file) === 'env') return [];
  const allowed = exemptions.filter((exemption) => covers(exemption, file)).flatMap(({ allowed }) => allowed);
  return worldlyUses(source)
    .filter((use) => !allowed.includes(use))
    .map((use) => `${file}: uses ${use}; outside env/ it must come through Env`);
}

/** An exemption that nothing needs any more is to be removed. */
export function unusedExemptions(
  files: ReadonlyMap<string, string>,
  exemptions: readonly Exemption[],
): string[] {
  return exemptions.flatMap((exemption) => {
    const used = new Set<string>();
    for (const [file, source] of files) {
      if (covers(exemption, file)) for (const use of worldlyUses(source)) used.add(use);
    }
    return exemption.allowed
      .filter((name) => !used.has(name))
      .map((name) => `${exemption.where}: the exemption for ${name} is not needed`);
  });
}

function covers(exemption: Exemption, file: string): boolean {
  return exemption.where.endsWith('/') ? file.startsWith(exemption.where) : file === exemption.where;
}

export function styleProblems(file: string, source: string): string[] {
  const code = codeOf(source);
  const problems: string[] = [];
  const find = (pattern: RegExp, text: string, what: string) => {
    for (const match of text.matchAll(pattern)) {
      problems.push(`${file}:${text.slice(0, match.index).split('\n').length}: ${what}`);
    }
  };
  find(/(?<=(?:(?<!\?\s*):|\bas|<|,|\||&|=|\bextends|\bkeyof)\s*)\bany\b(?!\s*[(.:?=])/g, code, 'any');
  find(/\bexport\s+default\b|\bexport\s*\{[^}]*\bas\s+default\b/g, code, 'default export');
  if (!PUBLIC_ENTRIES.includes(file)) find(/\bexport\s+(?:type\s+)?\*/g, code, 'barrel');
  find(/\b(?:TO(?:)DO|FIX(?:)ME)\b/g, source, 'unfinished work');
  find(/\.only\s*\(/g, code, 'a test that hides the others');
  return problems;
}

/** Rooms that the package does not contain. */
export const UNSHIPPED_ROOMS = ['sim'];

export interface PackageManifest {
  readonly files: readonly string[];
  readonly dependencies: Readonly<Record<string, string>>;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
}

/** The dependencies are the packages that shipped sources import, no more and no less. */
export function packageProblems(sources: ReadonlyMap<string, string>, manifest: PackageManifest): string[] {
  const used = new Map<string, string>();
  for (const [file, source] of sources) {
    if (UNSHIPPED_ROOMS.includes(roomOf(file) ?? '')) continue;
    for (const name of importsOf(source)) {
      if (name.startsWith('.') || name.startsWith('node:')) continue;
      used.set(name.split('/', name.startsWith('@') ? 2 : 1).join('/'), file);
    }
  }
  const listed = Object.keys({ ...manifest.dependencies, ...manifest.optionalDependencies });
  return [
    ...[...used]
      .filter(([name]) => !listed.includes(name))
      .map(([name, file]) => `${file}: ${name} is no dependency`),
    ...listed.filter((name) => !used.has(name)).map((name) => `${name} is a dependency that nothing imports`),
    ...UNSHIPPED_ROOMS.filter((room) => !manifest.files.includes(`!dist/src/${room}`)).map(
      (room) => `the package contains ${room}/`,
    ),
  ];
}

/** The lock file pins versions and checksums; where packages come from is the business of who installs. */
export function lockFileProblems(text: string): string[] {
  const problems: string[] = [];
  const walk = (value: unknown, at: string) => {
    if (typeof value === 'string' && /^(?:git\+|https?:).*(?:\.tgz|\.git|registry)/.test(value)) {
      problems.push(`${at} names a place: ${value}`);
    }
    if (typeof value !== 'object' || value === null) return;
    for (const [key, inner] of Object.entries(value)) {
      if (key === 'resolved') problems.push(`${at} has "resolved"`);
      else walk(inner, `${at}/${key}`);
    }
  };
  walk(JSON.parse(text), '');
  return problems;
}
