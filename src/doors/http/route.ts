/** A route: what is answered at a path, by method. The OpenAPI document is made of the same table. */
import type { z } from 'zod';
import type { Answer } from './answer.js';
import { type HttpRequest, Refusal } from './request.js';

export type Method = 'GET' | 'PUT' | 'POST' | 'PATCH' | 'DELETE';

/** `bytes` and `text` are bodies that are not JSON. */
export type Content = z.ZodType | 'bytes' | 'text';

export interface Described {
  readonly description: string;
  readonly content?: Content;
  /** The media type of a text; text/plain if it is not given. */
  readonly textType?: string;
  /** Another form of the answer, for who accepts it. */
  readonly ndjson?: z.ZodType;
  readonly hasEtag?: boolean;
}

export interface Operation {
  readonly id: string;
  readonly summary: string;
  readonly query: z.ZodObject;
  readonly body?: Content;
  readonly takes?: readonly ('if-match' | 'if-none-match' | 'last-event-id')[];
  /** By status. Problems are not listed: each operation may answer with any. */
  readonly answers: Readonly<Record<number, Described>>;
  /** Answers everybody: it tells nothing of the data. */
  readonly isOpen: boolean;
  readonly handle: (request: HttpRequest) => Answer | Promise<Answer>;
}

export interface Route {
  readonly path: string;
  /** HEAD is answered where GET is. */
  readonly operations: Readonly<Partial<Record<Method, Operation>>>;
}

/** The query is checked before `handle` is called. */
export function operation<Query extends z.ZodObject>(
  given: Omit<Operation, 'query' | 'handle' | 'isOpen'> & {
    readonly query: Query;
    readonly isOpen?: boolean;
    readonly handle: (request: HttpRequest, query: z.output<Query>) => Answer | Promise<Answer>;
  },
): Operation {
  return {
    isOpen: false,
    ...given,
    handle: (request) =>
      given.handle(request, checked(given.query, Object.fromEntries(request.query), 'INVALID_REQUEST')),
  };
}

/** Throws a Refusal that names every fault. */
export function checked<Schema extends z.ZodType>(
  schema: Schema,
  value: unknown,
  code: 'INVALID_REQUEST' | 'MALFORMED_REQUEST',
): z.output<Schema> {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const faults = result.error.issues.slice(0, 10).map(({ path, message }) => {
    return path.length > 0 ? `${path.map(String).join('.')}: ${message}` : message;
  });
  throw new Refusal(code, faults.join('; ').slice(0, 1000));
}
