/**
 * Options of a program of this repository. What is not allowed gets one line that says what is, and exit code 2.
 *
 *     const { values, names } = commandLine({ seeds: wholeNumber(1), profile: oneOf(PROFILES, 'all'), json: flag() });
 */
import { parseArgs } from 'node:util';

export interface Option<T> {
  /** As it is shown: `N`, `a|b`; empty if the option takes no value. */
  readonly value: string;
  /** `text`: undefined if the option is not given. Throws `UsageError`. */
  read(text: string | undefined): T;
}

export class UsageError extends Error {}

type Values<O> = { readonly [K in keyof O]: O[K] extends Option<infer T> ? T : never };

export interface CommandLine<O> {
  readonly values: Values<O>;
  /** What is no option; in order. */
  readonly names: readonly string[];
}

/** Integers from 0 on. */
export function wholeNumber(fallback: number): Option<number>;
export function wholeNumber(): Option<number | undefined>;
export function wholeNumber(fallback?: number): Option<number | undefined> {
  return {
    value: 'N',
    read: (text) => {
      if (text === undefined) return fallback;
      if (!/^\d+$/.test(text) || !Number.isSafeInteger(Number(text)))
        throw new UsageError(`'${text}' is no whole number`);
      return Number(text);
    },
  };
}

export function text(value: string): Option<string | undefined> {
  return { value, read: (given) => given };
}

export function flag(): Option<boolean> {
  return { value: '', read: (given) => given !== undefined };
}

export function oneOf<T extends string>(allowed: readonly T[], fallback: T): Option<T>;
export function oneOf<T extends string>(allowed: readonly T[]): Option<T | undefined>;
export function oneOf<T extends string>(allowed: readonly T[], fallback?: T): Option<T | undefined> {
  return {
    value: shown(allowed),
    read: (given) => (given === undefined ? fallback : member(allowed, given)),
  };
}

/** Several, with commas between them. */
export function someOf<T extends string>(allowed: readonly T[]): Option<readonly T[]> {
  return {
    value: `${shown(allowed)},…`,
    read: (given) => (given ? given.split(',').map((one) => member(allowed, one)) : []),
  };
}

/** Few are listed; of many, a wrong one is answered with the list. */
function shown(allowed: readonly string[]): string {
  return allowed.length > 8 ? 'NAME' : allowed.join('|');
}

function member<T extends string>(allowed: readonly T[], given: string): T {
  const found = allowed.find((one) => one === given);
  if (found === undefined) throw new UsageError(`'${given}' is none of ${allowed.join(', ')}`);
  return found;
}

/** Throws `UsageError`. `takesNames`: words that are no options are allowed. */
export function readCommandLine<O extends Readonly<Record<string, Option<unknown>>>>(
  args: readonly string[],
  options: O,
  takesNames = false,
): CommandLine<O> {
  const names = Object.keys(options);
  const isFlag = (name: string) => options[name]?.value === '';
  const given = new Map<string, string>();
  const positionals: string[] = [];
  const { tokens } = parseArgs({
    args: [...args],
    options: Object.fromEntries(names.map((name) => [name, { type: isFlag(name) ? 'boolean' : 'string' }])),
    strict: false,
    tokens: true,
  });
  for (const token of tokens) {
    if (token.kind === 'positional') {
      if (!takesNames) throw new UsageError(`'${token.value}' is no option`);
      positionals.push(token.value);
    }
    if (token.kind !== 'option') continue;
    const { name, rawName, value } = token;
    if (!names.includes(name) || !rawName.startsWith('--'))
      throw new UsageError(`there is no option ${rawName}`);
    if (isFlag(name) && value !== undefined) throw new UsageError(`${rawName} takes no value`);
    if (!isFlag(name) && value === undefined) throw new UsageError(`${rawName} needs a value`);
    given.set(name, value ?? '');
  }
  const values = names.map((name) => {
    try {
      return [name, options[name]?.read(given.get(name))];
    } catch (error) {
      if (error instanceof UsageError) throw new UsageError(`--${name}: ${error.message}`);
      throw error;
    }
  });
  return { values: Object.fromEntries(values) as Values<O>, names: positionals };
}

/** Of this process. Ends it if something is not allowed. */
export function commandLine<O extends Readonly<Record<string, Option<unknown>>>>(
  options: O,
  takesNames = false,
): CommandLine<O> {
  try {
    return readCommandLine(process.argv.slice(2), options, takesNames);
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    const allowed = Object.entries(options).map(([name, { value }]) => `--${name} ${value}`.trimEnd());
    console.error(`${error.message}; allowed: ${[...(takesNames ? ['NAME…'] : []), ...allowed].join(', ')}`);
    process.exit(2);
  }
}
