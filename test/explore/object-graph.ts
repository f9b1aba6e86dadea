/**
 * A copy of everything that can be reached from an object, with its prototypes and with what is shared still shared.
 */

/** Never changed by those who hold them. */
const SHARED_FIELDS = new Set(['_options', '_limits', 'body']);

export function copyOf<T>(value: T, copies = new Map<object, object>()): T {
  if (typeof value !== 'object' || value === null) return value;
  const known = copies.get(value);
  if (known) return known as T;
  if (value instanceof Uint32Array) return value.slice() as T;
  if (value instanceof Uint8Array) return value;
  if (Array.isArray(value)) {
    const copy: unknown[] = [];
    copies.set(value, copy);
    for (const item of value) copy.push(copyOf(item, copies));
    return copy as T;
  }
  if (value instanceof Map) {
    const copy = new Map<unknown, unknown>();
    copies.set(value, copy);
    for (const [key, item] of value) copy.set(key, copyOf(item, copies));
    return copy as T;
  }
  const copy: Record<string, unknown> = Object.create(Object.getPrototypeOf(value));
  copies.set(value, copy);
  const fields = value as Record<string, unknown>;
  for (const key of Object.keys(fields)) {
    const item = fields[key];
    copy[key] = typeof item !== 'object' || SHARED_FIELDS.has(key) ? item : copyOf(item, copies);
  }
  return copy as T;
}
