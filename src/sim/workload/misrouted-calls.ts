/**
 * Requests that name a tablet which does not own their keys, as of a client with a map of another time: a write in a
 * session of that tablet, a read, a scan, a watch. None of them may be carried out.
 */
import type { Unnumbered } from '../../client/node-connection.js';
import type { Direct } from '../cluster/direct.js';
import type { Coverage } from '../rules/coverage.js';
import type { Fail } from '../rules/fail.js';
import type { References } from '../rules/references.js';
import type { SeededRandom } from '../world/seeded-random.js';

export interface MisroutedParts {
  readonly random: SeededRandom;
  readonly coverage: Coverage;
  readonly references: References;
  readonly hasLeases: boolean;
  /** Tablets may be merged until one is left, which then is the only one. */
  readonly mayMerge: boolean;
  readonly fail: Fail;
}

/** A tablet that no cluster of a run has. */
const NO_TABLET = 4_000_000_000;
const NOTHING = Buffer.alloc(0);

export class MisroutedCalls {
  readonly #parts: MisroutedParts;

  constructor(parts: MisroutedParts) {
    this.#parts = parts;
  }

  /** `endpointOf`: whom to ask about a tablet. */
  async call(
    direct: Direct,
    endpointOf: (tablet: number) => string,
    { key, value }: { readonly key: string; readonly value: string },
  ): Promise<void> {
    const { random, coverage, references } = this.#parts;
    const others = references.tablets.filter((tablet) => tablet !== references.ownerOf(key));
    const none = this.#parts.mayMerge ? NO_TABLET : 0;
    const tablet = random.pick([none, NO_TABLET, ...others, ...others, ...others, ...references.ended]);
    const endpoint = endpointOf(tablet);
    coverage.count('requests to wrong tablets');
    const work = random.pick([
      () => this.#write(direct, endpoint, tablet, { key, value }),
      () => this.#write(direct, endpoint, tablet, { key, value }),
      () => this.#read(direct, endpoint, tablet, key),
    ]);
    await work();
  }

  async #write(
    direct: Direct,
    endpoint: string,
    tablet: number,
    { key, value }: { readonly key: string; readonly value: string },
  ): Promise<void> {
    const opened = await direct.ask(endpoint, { type: 'openSession', tablet, window: 1 });
    if (typeof opened === 'string' || opened.type !== 'sessionOpened') return;
    const { sessionId } = opened;
    const operation = {
      ...({ action: 'put', condition: 'always', conditionVersion: 0, life: undefined } as const),
      ...{ key: Buffer.from(key), value: Buffer.from(value), conditionValue: NOTHING },
    };
    const place = { sessionId, sequence: 1, acknowledgedThrough: 0, after: 0 };
    await this.#refused(direct, endpoint, key, {
      ...{ type: 'write', tablet, ...place, operations: [operation] },
    });
  }

  async #read(direct: Direct, endpoint: string, tablet: number, key: string): Promise<void> {
    const { random, references, hasLeases } = this.#parts;
    const bytes = Buffer.from(key);
    const consistency = random.pick([
      'linearizable',
      'follower',
      'stale',
      hasLeases ? 'lease' : 'stale',
    ] as const);
    const range = { from: bytes, to: Buffer.concat([bytes, Buffer.of(0)]) };
    const page = { limit: 0, reverse: random.chance(0.5), keysOnly: false };
    const asked: Unnumbered[] = [
      { type: 'get', tablet, consistency, key: bytes, omitValue: false },
      { type: 'scan', tablet, consistency, ...range, ...page },
    ];
    // By hash a tablet may have keys in any range.
    const isByRange = references.map.by === 'range';
    await this.#refused(
      direct,
      endpoint,
      key,
      random.pick(isByRange ? asked : asked.slice(0, 1)) as Unnumbered,
    );
  }

  async #refused(direct: Direct, endpoint: string, key: string, request: Unnumbered): Promise<void> {
    const answer = await direct.ask(endpoint, request);
    if (typeof answer === 'string') return;
    const tablet = 'tablet' in request ? request.tablet : 0;
    this.#parts.fail(
      'tablets answer for their keys',
      `${endpoint} answered a ${request.type} about ${key} in tablet ${tablet} with ${answer.type}`,
    );
  }
}
