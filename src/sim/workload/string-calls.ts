/**
 * Calls of string operations (kv/string-operation.ts) on keys of their own: single ones, and transactions, some of
 * which watch a key. What doors for clients of Redis propose.
 */
import type { RaftreeClient } from '../../client/client.js';
import type { CallOptions } from '../../client/client-options.js';
import type { Life } from '../../kv/requests.js';
import { encodeStringOperation, type StringOperationName } from '../../kv/string-operation.js';
import type { OutboundOperation } from '../../protocol/messages.js';
import type { Coverage } from '../rules/coverage.js';
import type { StringHistory } from '../rules/string-rules.js';
import { STRING_KEYS } from '../setting/setting.js';
import type { SeededRandom } from '../world/seeded-random.js';

export interface StringCallsParts {
  readonly random: SeededRandom;
  readonly history: StringHistory;
  readonly coverage: Coverage;
  readonly hasLives: boolean;
  /** The keys of string operations that are in one tablet with this one. */
  readonly together: (key: string) => readonly string[];
  /** How long a call is waited for. */
  readonly whim: () => CallOptions;
  /** Gives what is known about a call that failed. Throws what is no error of the client library. */
  readonly failed: (name: string, error: unknown) => 'notCommitted' | 'unknown';
}

const NOTHING = Buffer.alloc(0);

export class StringCalls {
  readonly #parts: StringCallsParts;
  readonly #versions = new Map<string, number>();
  /** Those of one tablet. */
  #keys: readonly string[] = [];
  #tokens = 0;

  constructor(parts: StringCallsParts) {
    this.#parts = parts;
  }

  async call(name: string, client: RaftreeClient): Promise<void> {
    const { random, history, coverage, together, failed } = this.#parts;
    const token = `${name}.s${++this.#tokens};`;
    this.#keys = together(random.pick(STRING_KEYS));
    const count = random.chance(0.6) ? 1 : random.between(2, 4);
    const operations = Array.from({ length: count }, (_each, i) => this.#operation(i === 0 ? token : ''));
    if (random.chance(0.3)) {
      const key = random.pick(this.#keys);
      operations.unshift(operation('check', key, NOTHING, { version: this.#versions.get(key) ?? 0 }));
    }
    const isWritten = operations.some(({ value }) => Buffer.from(value).includes(token));
    // One that it names: a split may part it from the others.
    const key = Buffer.from(operations[0]?.key ?? '').toString();
    const call = history.begin(name, key, isWritten ? token : '');
    coverage.count('string operations', operations.length);
    try {
      const result = await client.write(operations, this.#parts.whim());
      for (const [i, { version }] of result.results.entries())
        this.#versions.set(Buffer.from(operations[i]?.key ?? '').toString(), version);
      if (!result.applied) coverage.count('transactions not applied');
      history.end(call, { type: 'ok', result });
    } catch (error) {
      history.end(call, { type: failed(name, error) });
    }
  }

  #operation(token: string): OutboundOperation {
    const { random, hasLives } = this.#parts;
    const key = random.pick(this.#keys);
    const other = random.pick(this.#keys);
    const text = token === '' ? random.pick(['7', '-12', '1.5', 'text']) : token;
    const modify = (name: StringOperationName, ...given: readonly string[]) =>
      operation('modify', key, encodeStringOperation(name, ...given));
    const mortal = (name: StringOperationName, ...given: readonly string[]) => ({
      ...modify(name, ...given),
      life: this.#life(),
    });
    const set = () => [
      random.pick(['always', 'always', 'exists', 'absent']),
      random.pick(['done', 'old', 'count']),
    ];
    const small = () => String(random.between(-20, 20));
    const lives = () =>
      random.pick([
        () => mortal('set', ...set(), text),
        () => mortal(random.pick(['expire', 'expireMortal', 'getExpire'])),
        () => modify(random.pick(['persist', 'getPersist', 'remaining'])),
      ])();
    return random.pick([
      () => modify('set', ...set(), text),
      () => modify('set', 'always', 'done', small()),
      () => modify('append', text),
      () => modify('append', text),
      () => modify('increment', small()),
      () => modify('incrementFloat', random.pick(['0.5', '-2.25', '3'])),
      () => modify(random.pick(['get', 'length', 'exists', 'getDelete'])),
      () => modify('getRange', small(), small()),
      () => modify('setRange', String(random.between(0, 40)), random.pick(['', 'xyz'])),
      () => modify('getBit', String(random.between(0, 99))),
      () => modify('setBit', String(random.between(0, 99)), random.pick(['0', '1'])),
      () => modify(random.pick(['rename', 'copy']), other, random.pick(['always', 'absent'])),
      () =>
        modify(
          ...(['setAllIfAbsent', text] as const),
          ...this.#keys.filter((each) => each !== key).flatMap((each) => [each, '1']),
        ),
      () => operation('put', key, Buffer.from('plain')),
      () => operation('delete', key, NOTHING),
      hasLives ? lives : () => modify('get'),
    ])();
  }

  #life(): Life {
    const { random, coverage } = this.#parts;
    coverage.count('lives given');
    const when = random.pick(['always', 'always', 'ifNone', 'ifSome', 'ifLater', 'ifSooner'] as const);
    return {
      change: 'set',
      ttlMs: random.pick([0, 1, random.between(5, 300), random.between(300, 4000)]),
      when,
    };
  }
}

function operation(
  action: OutboundOperation['action'],
  key: string,
  value: Buffer,
  { version }: { readonly version?: number } = {},
): OutboundOperation {
  return {
    ...{ action, key: Buffer.from(key), value },
    condition: version === undefined ? 'always' : 'versionIs',
    ...{ conditionValue: NOTHING, conditionVersion: version ?? 0, life: undefined },
  };
}
