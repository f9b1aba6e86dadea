/**
 * Checks what clients of Redis were told of their SETs: what was answered with OK is there, what was refused is not,
 * and of the writes of one connection to a key none takes effect before an earlier one. That each takes effect once is
 * checked when it does (effects.ts).
 */
import type { Fail } from './fail.js';
import type { References } from './references.js';

export interface RedisCall {
  /** A connection; its calls come in order. */
  readonly connection: string;
  readonly key: string;
  /** In the value. */
  readonly token: string;
  /** `unknown`: there is no answer, or it says so. */
  answer: 'ok' | 'notCommitted' | 'unknown';
}

export function checkRedis(calls: readonly RedisCall[], { effects }: References, fail: Fail): void {
  const latest = new Map<string, { readonly token: string; readonly order: number }>();
  for (const { connection, key, token, answer } of calls) {
    const effect = effects.of(token);
    if (answer === 'ok' && !effect)
      fail('durability', `${connection} was told OK of ${token}, which is not there`);
    if (answer === 'notCommitted' && effect)
      fail(
        'exact outcomes',
        `${connection} was told that ${token} was not committed; it took effect at ${effect.index}`,
      );
    if (!effect) continue;
    const of = `${connection}'s writes to ${key}`;
    const before = latest.get(of);
    if (before && before.order > effect.order)
      fail('order of calls', `of ${of} ${before.token} took effect after ${token}`);
    latest.set(of, { token, order: effect.order });
  }
}
