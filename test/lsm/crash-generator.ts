/** Draws a history from a seed: which operations, which option sets, which failures. */
import type { LsmOptions } from '../../src/lsm/index.js';
import type { Change, FaultName, History, Range, Step } from './crash-history.js';
import { SeededRandom, TINY } from './tree-lab.js';

export interface GeneratorOptions {
  readonly steps?: number;
  /** Power cuts, kills and failing operations; on unless false. */
  readonly failures?: boolean;
}

const CHOICES: { readonly [Name in keyof LsmOptions]?: readonly NonNullable<LsmOptions[Name]>[] } = {
  writeBufferBytes: [1024, 1024, 4096, 16384],
  maxFrozenMemtables: [1, 2, 4],
  blockBytes: [64, 128, 512, 4096],
  codecs: [['none'], ['lz4'], ['none', 'lz4']],
  restartInterval: [1, 3, 16],
  bloomBitsPerKey: [0, 1, 10],
  level0Trigger: [1, 2, 4],
  level0SlowdownTrigger: [4, 8],
  level0StopTrigger: [4, 12],
  slowdownPendingBytes: [1024, 1024 * 1024],
  stopPendingBytes: [16 * 1024, 1024 * 1024],
  maxFileBytes: [1024, 1024, 4096, 65536],
  levelBaseBytes: [1024, 4096, 65536],
  levelMultiplier: [2, 4, 10],
  blockCacheBytes: [0, 2048, 65536],
  maxOpenTables: [16, 512],
  maxManifestBytes: [256, 2048, 65536],
  stepBudgetMs: [0, 2],
};

export function randomOptions(random: SeededRandom): LsmOptions {
  const drawn = Object.entries(CHOICES).map(([name, values]) => [name, random.pick<unknown>(values)]);
  const durability = random.chance(0.2) ? 'none' : random.pick(['sync', 'buffered'] as const);
  return { ...TINY, ...Object.fromEntries(drawn), durability };
}

export function generateHistory(seed: number, options: GeneratorOptions = {}): History {
  const random = new SeededRandom(seed);
  const failures = options.failures ?? true;
  const optionSets = Array.from({ length: random.between(1, 3) }, () => ({
    ...randomOptions(random),
    // Writes are refused where another set would let them wait.
    ...(failures && random.chance(0.2) ? { maxWaitingBytes: random.pick([0, 300, 3000]) } : {}),
  }));
  const latencyMs = random.pick([0, 0, 1, 5]);
  const linksFail = random.chance(0.3);
  const keys = randomKeys(random);
  const shared = random.chance(0.25) ? { budgetBytes: random.pick([1500, 6000, 1 << 20]) } : {};
  // So large that a group of them is written while other events run.
  const hasHuge = random.chance(0.02);
  const generator = new Generator(random, keys, { optionSets: optionSets.length, failures, hasHuge });
  const steps: Step[] = [];
  const count = options.steps ?? (hasHuge ? 25 : random.between(30, 120));
  while (steps.length < count) steps.push(...generator.next());
  return { seed, optionSets, latencyMs, linksFail, ...shared, steps };
}

/** Keys of different lengths and shapes; one may be empty. */
function randomKeys(random: SeededRandom): string[] {
  const shapes = [
    (i: number) => `key${String(i).padStart(3, '0')}`,
    (i: number) => `a/long/prefix/that/all/share/${i}`,
    (i: number) => '\xff'.repeat(i % 5) + String.fromCharCode(i),
    (i: number) => (i === 0 ? '' : 'x'.repeat(i)),
  ];
  const shape = random.pick(shapes);
  const keys = Array.from({ length: random.between(5, 60) }, (_, i) => shape(i));
  return random.chance(0.2) ? [...keys, '', 'zz'] : keys;
}

const SLOTS = 3;

class Generator {
  readonly #random: SeededRandom;
  readonly #keys: readonly string[];
  readonly #optionSets: number;
  readonly #failures: boolean;
  readonly #hasHuge: boolean;
  #writes = 0;
  #checkpoints = 0;

  constructor(
    random: SeededRandom,
    keys: readonly string[],
    kind: { readonly optionSets: number; readonly failures: boolean; readonly hasHuge: boolean },
  ) {
    this.#random = random;
    this.#keys = keys;
    this.#optionSets = kind.optionSets;
    this.#failures = kind.failures;
    this.#hasHuge = kind.hasHuge;
  }

  next(): Step[] {
    const random = this.#random;
    const slot = random.between(0, SLOTS - 1);
    const kinds: readonly (readonly [number, () => Step[]])[] = [
      [40, () => this.#burst()],
      [10, () => [{ kind: 'settle' }]],
      [5, () => [{ kind: 'wait', ms: random.between(1, 20) }]],
      [5, () => [{ kind: 'flush', behind: this.#isBehind() }]],
      [3, () => [this.#compaction()]],
      [6, () => [{ kind: 'read', keys: this.#someKeys(), ...(random.chance(0.4) ? { slot } : {}) }]],
      [5, () => [{ kind: 'scan', range: this.#range(), ...(random.chance(0.4) ? { slot } : {}) }]],
      [4, () => [{ kind: 'snapshot', slot }]],
      [2, () => [{ kind: 'release', slot }]],
      [3, () => [{ kind: 'iterator', slot, range: this.#range() }]],
      [4, () => [{ kind: 'advance', slot, count: random.between(1, 20) }]],
      [2, () => [{ kind: 'seek', slot, key: this.#key() }]],
      [2, () => [this.#checkpoint()]],
      [3, () => this.#clear()],
      [3, () => [{ kind: 'neighbour', writes: random.between(1, 10), valueBytes: random.between(0, 300) }]],
      [1, () => [{ kind: 'verify' }]],
      [2, () => [this.#reopening()]],
      [this.#failures ? 5 : 0, () => [this.#crash()]],
      [this.#failures ? 3 : 0, () => this.#fault()],
    ];
    let at = random.float() * kinds.reduce((sum, [weight]) => sum + weight, 0);
    for (const [weight, make] of kinds) {
      at -= weight;
      if (at < 0) return make();
    }
    return [];
  }

  #burst(): Step[] {
    const random = this.#random;
    const durability = random.chance(0.4) ? 'sync' : 'buffered';
    const atOnce = random.chance(0.3);
    return Array.from({ length: random.between(1, 4) }, () => {
      this.#writes++;
      const count = random.chance(0.1) ? random.between(5, 20) : random.between(1, 4);
      const changes = Array.from({ length: count }, (_, i) => this.#change(i));
      return { kind: 'write', changes, durability, atOnce };
    });
  }

  #change(i: number): Change {
    const random = this.#random;
    const key = this.#key();
    if (random.chance(0.35)) return { key };
    const longest = this.#hasHuge ? 280_000 : 5000;
    const length = random.chance(0.03) ? random.between(longest / 10, longest) : random.between(0, 60);
    const filler = random.chance(0.5) ? 'x'.repeat(length) : random.bytes(length).toString('latin1');
    return { key, value: random.chance(0.05) ? '' : `${this.#writes}.${i}:${filler}` };
  }

  #compaction(): Step {
    const random = this.#random;
    const [smallest = '', largest = ''] = [this.#key(), this.#key()].sort();
    const range = random.chance(0.5) ? {} : { smallest, largest };
    return { kind: 'compact', ...range, behind: this.#isBehind() };
  }

  /** Mostly without snapshots, which forbid it. */
  #clear(): Step[] {
    const random = this.#random;
    const { limit, ...range } = { limit: undefined, ...this.#range(), reverse: false };
    const slots = random.chance(0.8) ? Array.from({ length: SLOTS }, (_, slot) => slot) : [];
    const releases = slots.map((slot): Step => ({ kind: 'release', slot }));
    return [...releases, { kind: 'clear', range: random.chance(0.3) ? { reverse: false } : range }];
  }

  #checkpoint(): Step {
    return { kind: 'checkpoint', name: `checkpoint-${++this.#checkpoints}`, behind: this.#isBehind() };
  }

  #isBehind(): boolean {
    return this.#failures && this.#random.chance(0.4);
  }

  #range(): Range {
    const random = this.#random;
    const bound = (name: string) => (random.chance(0.25) ? { [name]: this.#key() } : {});
    return {
      ...bound('gt'),
      ...bound('gte'),
      ...bound('lt'),
      ...bound('lte'),
      ...(random.chance(0.2) ? { limit: random.between(0, 10) } : {}),
      reverse: random.chance(0.5),
    };
  }

  #reopening(): Step {
    const random = this.#random;
    return {
      kind: 'reopen',
      optionSet: random.between(0, this.#optionSets - 1),
      power: this.#failures && random.chance(0.5),
      hurry: this.#failures && random.chance(0.4),
      seed: random.uint32(),
    };
  }

  #crash(): Step {
    const random = this.#random;
    const again = random.chance(0.4)
      ? Array.from({ length: random.between(1, 3) }, () => random.between(0, 30))
      : [];
    return {
      kind: 'crash',
      after: random.chance(0.2) ? 0 : random.between(1, 60),
      power: random.chance(0.75),
      torn: random.chance(0.5),
      seed: random.uint32(),
      again,
    };
  }

  /** A failing operation, some life with it, and mostly a new process to see what is left. */
  #fault(): Step[] {
    const random = this.#random;
    const fault: FaultName = random.pick(['EIO', 'ENOSPC', 'short', 'lose']);
    const times = fault === 'ENOSPC' || fault === 'short' ? random.between(1, 30) : 1;
    const steps: Step[] = [{ kind: 'fault', fault, after: random.between(0, 40), times }];
    for (let i = random.between(1, 4); i > 0; i--) steps.push(...this.#burst(), { kind: 'settle' });
    if (random.chance(0.8)) steps.push(random.chance(0.5) ? this.#reopening() : this.#crash());
    return steps;
  }

  #someKeys(): string[] {
    return Array.from({ length: this.#random.between(1, 10) }, () =>
      this.#random.chance(0.1) ? `${this.#key()}-missing` : this.#key(),
    );
  }

  #key(): string {
    return this.#random.pick(this.#keys);
  }
}
