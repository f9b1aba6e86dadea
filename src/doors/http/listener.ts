/**
 * Listens for HTTP: node:http's server, with limits for everything that a client can make it hold.
 *
 *     a connection      one of `maxConnections`, and of `maxConnectionsPerAddress` from another machine
 *     its requests      answered one after the other, however many it sends at once; at most MAX_PIPELINED wait
 *     a request         MAX_HEADER_BYTES of target and headers; received whole within `clientTimeoutMs`
 *     an answer         64 KiB of it taken within `clientTimeoutMs`, again and again
 *     memory            bodies and answers of all connections together: `maxBufferedBytes`
 */
import {
  createServer,
  type IncomingMessage,
  type Server,
  type ServerResponse,
  STATUS_CODES,
} from 'node:http';
import { z } from 'zod';
import { RaftreeClientError } from '../../client/client-error.js';
import type { Address, Env, Logger } from '../../env/env.js';
import { errorMessage } from '../../env/errors.js';
import { OnceAMinute } from '../../env/once-a-minute.js';
import type { RequestLimits } from '../../kv/limits.js';
import type { Exposition } from '../../metrics/exposition.js';
import { Histogram, LATENCY_BOUNDS_SECONDS } from '../../metrics/histogram.js';
import { isLoopback } from '../../net/hosts.js';
import { Backend, type BackendParts } from '../backend.js';
import { WriteLine } from '../write-line.js';
import { callerOf, type HttpSecurity, howToAdministrate } from './access.js';
import { type Answer, json, send } from './answer.js';
import { balanceRoute } from './balance-route.js';
import { ByteBudget } from './byte-budget.js';
import { clusterRoutes, type StatusView } from './cluster-routes.js';
import { kvRoutes } from './kv-routes.js';
import { LiveFeed, type LiveSource } from './live.js';
import { nodeRoutes, type ReadinessCheck } from './node-routes.js';
import { nodesRoutes } from './nodes-route.js';
import { openApiDocument } from './openapi.js';
import { pageRoutes } from './page.js';
import { problem, problemOf } from './problem.js';
import { ClientGone, HttpRequest, Refusal } from './request.js';
import { parseTarget } from './request-target.js';
import { type Method, operation, type Route } from './route.js';
import { noQuery } from './schemas.js';
import { answerToUnparsed } from './unparsed.js';
import { watchRoute } from './watch.js';

export interface HttpDoorOptions extends BackendParts {
  readonly env: Pick<Env, 'clock' | 'timers'>;
  readonly logger: Logger;
  readonly security: HttpSecurity;
  readonly limits: RequestLimits;
  readonly maxConnections: number;
  readonly maxConnectionsPerAddress: number;
  readonly maxBufferedBytes: number;
  readonly clientTimeoutMs: number;
  readonly version: string;
  readonly status: () => StatusView;
  readonly isDraining: (node: number) => boolean;
  readonly readiness: () => readonly ReadinessCheck[];
  readonly live: LiveSource;
  /** The bytes of a file of PAGE_FILES. */
  readonly page: (name: string) => Uint8Array;
  /** The metrics of the node; the door adds its own. */
  readonly metrics: () => Exposition;
}

/** The longest key, percent-encoded, and much else. */
const MAX_HEADER_BYTES = 32 * 1024;
const MAX_HEADERS = 100;
const MAX_HEADERS_TIMEOUT_MS = 10_000;
const MAX_PIPELINED = 64;
/** Names of methods in metrics: there are no more, whatever clients send. */
const METHODS = ['GET', 'HEAD', 'PUT', 'POST', 'PATCH', 'DELETE', 'OPTIONS'];

type Connection = IncomingMessage['socket'];

/** The requests of a connection. */
interface Line {
  pending: number;
  /** The one that is carried out. */
  current: { readonly incoming: IncomingMessage; readonly response: ServerResponse } | undefined;
  /** Settles, and never rejects, when the last request is answered. */
  last: Promise<void>;
  readonly writes: WriteLine;
}

export class HttpDoor {
  readonly #options: HttpDoorOptions;
  readonly #server: Server;
  readonly #backend: Backend;
  readonly #live: LiveFeed;
  /** End the answers that would go on as long as their clients. */
  readonly #endings = new Set<() => void>();
  readonly #budget: ByteBudget;
  readonly #routes: readonly { readonly segments: readonly string[]; readonly route: Route }[];
  readonly #lines = new Map<Connection, Line>();
  readonly #perAddress = new Map<string, number>();
  readonly #faults: OnceAMinute;
  readonly #durations = new Histogram(LATENCY_BOUNDS_SECONDS);
  /** By path, method and status. */
  readonly #requests = new Map<
    string,
    { readonly labels: Readonly<Record<string, string>>; count: number }
  >();
  #refusedConnections = 0;
  #badRequests = 0;
  #isClosing = false;
  #address: Address = { host: '', port: 0 };

  /** Resolves when connections are accepted. Rejects with the system's code (`EADDRINUSE` …). */
  static async listen(options: HttpDoorOptions, address: Address): Promise<HttpDoor> {
    const door = new HttpDoor(options);
    await door.#listen(address);
    return door;
  }

  private constructor(options: HttpDoorOptions) {
    this.#options = options;
    const { clientTimeoutMs, maxBufferedBytes, limits, env, version } = options;
    this.#backend = new Backend(options);
    this.#live = new LiveFeed(env.timers, options.live);
    this.#budget = new ByteBudget(maxBufferedBytes);
    this.#faults = new OnceAMinute(env.clock);
    const admit = ({ caller }: HttpRequest) => {
      if (!caller.rights.administrate)
        throw new Refusal('NOT_PERMITTED', howToAdministrate(options.security));
    };
    const { cluster, status, isDraining } = options;
    const routes: Route[] = [
      ...pageRoutes(options.page, this.#live),
      ...nodeRoutes({ readiness: options.readiness, metrics: () => this.#metrics() }),
      ...kvRoutes(this.#backend, limits),
      ...nodesRoutes({ cluster, status, isDraining, backend: this.#backend, admit }),
      balanceRoute({ backend: this.#backend, admit }),
      watchRoute(this.#backend, env.timers, this.#endings),
      ...clusterRoutes({ backend: this.#backend, status, admit }),
      {
        path: '/v1/openapi.json',
        operations: {
          GET: operation({
            id: 'getOpenApi',
            summary: 'This document',
            query: noQuery,
            answers: {
              200: { description: 'The document', content: z.looseObject({ openapi: z.string() }) },
            },
            handle: () => json(openApiDocument(routes, version)),
          }),
        },
      },
    ];
    this.#routes = routes.map((route) => ({ segments: route.path.slice(1).split('/'), route }));
    this.#server = createServer(
      {
        maxHeaderSize: MAX_HEADER_BYTES,
        headersTimeout: Math.min(clientTimeoutMs, MAX_HEADERS_TIMEOUT_MS),
        requestTimeout: clientTimeoutMs,
        keepAliveTimeout: clientTimeoutMs,
        connectionsCheckingInterval: Math.max(50, Math.min(1000, clientTimeoutMs / 4)),
        noDelay: true,
        // Without a Host the answer is a problem document, too.
        requireHostHeader: false,
      },
      (incoming, response) => this.#requested(incoming, response),
    );
    this.#server.maxHeadersCount = MAX_HEADERS;
    this.#server.on('connection', (socket) => this.#connected(socket));
    this.#server.on('clientError', (error: NodeJS.ErrnoException, socket) =>
      this.#failed(error, socket as Connection),
    );
  }

  get address(): Address {
    return this.#address;
  }

  get connections(): number {
    return this.#lines.size;
  }

  /** Accepts no more connections. Those that are open get answers to what they have sent. */
  stopAccepting(): void {
    if (this.#isClosing) return;
    this.#isClosing = true;
    this.#live.close();
    for (const end of [...this.#endings]) end();
    this.#server.close();
    this.#server.closeIdleConnections();
  }

  /** Closes every connection when its requests are answered, and those that take too long. */
  async close(): Promise<void> {
    this.stopAccepting();
    const { timers } = this.#options.env;
    const answered = Promise.all([...this.#lines.values()].map(({ last }) => last));
    let timer: ReturnType<typeof timers.after> | undefined;
    const patience = new Promise<void>((resolve) => {
      timer = timers.after(CLOSE_TIMEOUT_MS, resolve);
    });
    await Promise.race([answered, patience]);
    timer?.cancel();
    this.#server.closeAllConnections();
  }

  #listen({ host, port }: Address): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen(port, host, () => {
        this.#server.off('error', reject);
        this.#server.on('error', () => {});
        const bound = this.#server.address();
        this.#address = { host, port: typeof bound === 'object' && bound ? bound.port : port };
        resolve();
      });
    });
  }

  #connected(socket: Connection): void {
    const { maxConnections, maxConnectionsPerAddress } = this.#options;
    const host = socket.remoteAddress ?? '';
    const ofAddress = this.#perAddress.get(host) ?? 0;
    const isTooMany = !isLoopback(host) && ofAddress >= maxConnectionsPerAddress;
    if (this.#lines.size >= maxConnections || isTooMany) {
      this.#refusedConnections++;
      socket.destroy();
      return;
    }
    this.#lines.set(socket, {
      pending: 0,
      current: undefined,
      last: Promise.resolve(),
      writes: new WriteLine(),
    });
    this.#perAddress.set(host, ofAddress + 1);
    socket.once('close', () => {
      this.#lines.delete(socket);
      const left = (this.#perAddress.get(host) ?? 1) - 1;
      if (left > 0) this.#perAddress.set(host, left);
      else this.#perAddress.delete(host);
    });
  }

  /** Bytes that are no request, or one that does not come to its end. */
  #failed(error: NodeJS.ErrnoException, socket: Connection): void {
    this.#badRequests++;
    const line = this.#lines.get(socket);
    if (!socket.writable || !line || !mayAnswer(line)) {
      socket.destroy();
      return;
    }
    const answer = answerToUnparsed(error, MAX_HEADER_BYTES, (target) => this.#refusedMethod(target));
    const { status, headers = {}, body } = answer;
    const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
    const length = Buffer.byteLength(String(body));
    socket.end(
      `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\n${lines.join('')}content-length: ${length}\r\nconnection: close\r\n\r\n${String(body)}`,
      () => socket.destroy(),
    );
  }

  /** The answer to a method of which the parser of node:http has not heard. */
  #refusedMethod(given: string): Answer {
    const target = parseTarget(given);
    if (typeof target === 'string') return problem('MALFORMED_REQUEST', target);
    return refusalAt(this.#routeAt(target.segments), target.segments);
  }

  #routeAt(segments: readonly Buffer[]) {
    return this.#routes.find(({ segments: wanted }) => isMatch(wanted, segments));
  }

  #requested(incoming: IncomingMessage, response: ServerResponse): void {
    const line = this.#lines.get(incoming.socket);
    if (!line || line.pending >= MAX_PIPELINED) {
      incoming.socket.destroy();
      return;
    }
    const exchange = { incoming, response };
    if (line.pending++ === 0) line.current = exchange;
    line.last = line.last
      .then(() => {
        line.current = exchange;
        return this.#exchange(incoming, response, line.writes);
      })
      .then(() => {
        line.pending--;
        line.current = undefined;
      });
  }

  /** Answers a request. Never rejects. */
  async #exchange(incoming: IncomingMessage, response: ServerResponse, writes: WriteLine): Promise<void> {
    if (response.destroyed || incoming.socket.destroyed) return;
    const { env, clientTimeoutMs, logger } = this.#options;
    const startMs = env.clock.nowMs();
    let found: Found = { path: 'other' };
    let request: HttpRequest | undefined;
    try {
      let answer: Answer;
      try {
        const opened = this.#open(incoming, writes);
        ({ found, request } = opened);
        answer = 'refusal' in opened ? opened.refusal : await opened.handle();
      } catch (error) {
        if (error instanceof ClientGone) return;
        answer = this.#problemOf(error);
      }
      if (this.#isClosing) response.setHeader('connection', 'close');
      this.#count(found.path, incoming.method ?? '', answer.status);
      this.#durations.observe((env.clock.nowMs() - startMs) / 1000);
      await send(response, answer, incoming.method === 'HEAD', { env, stallMs: clientTimeoutMs });
    } catch (error) {
      const code = error instanceof RaftreeClientError ? error.code : 'INTERNAL';
      if (this.#faults.isDue(`${code} cut`))
        logger.warn({ code }, `an answer was cut off: ${errorMessage(error)}`);
    } finally {
      request?.release();
    }
  }

  #open(incoming: IncomingMessage, writes: WriteLine): Opened {
    const target = parseTarget(incoming.url ?? '');
    if (typeof target === 'string')
      return { found: { path: 'other' }, refusal: problem('MALFORMED_REQUEST', target) };
    const { segments, query } = target;
    const matched = this.#routeAt(segments);
    const found = { path: matched?.route.path ?? 'other' };
    const method = incoming.method === 'HEAD' ? 'GET' : incoming.method;
    const operations = matched?.route.operations ?? {};
    const operation = isMethod(method, operations) ? operations[method] : undefined;
    const caller = operation?.isOpen ? NOBODY : callerOf(this.#options.security, incoming);
    if ('status' in caller) return { found, refusal: caller };
    if (!matched || !operation) return { found, refusal: refusalAt(matched, segments) };
    const parameters = segments.filter((_segment, i) => matched.segments[i]?.startsWith('{'));
    const request = new HttpRequest(incoming, this.#budget, { caller, writes, parameters, query });
    return { found, request, handle: async () => operation.handle(request) };
  }

  #problemOf(error: unknown): Answer {
    if (error instanceof Refusal) return error.answer;
    if (error instanceof RaftreeClientError) return problemOf(error);
    const message = errorMessage(error);
    if (this.#faults.isDue(message)) this.#options.logger.error({ code: 'INTERNAL' }, message);
    return problem('INTERNAL', 'a fault in this node; its log says more', { outcome: 'unknown' });
  }

  #count(path: string, given: string, status: number): void {
    const method = METHODS.includes(given) ? given : 'other';
    const name = `${path} ${method} ${status}`;
    const counted = this.#requests.get(name);
    if (counted) counted.count++;
    else this.#requests.set(name, { labels: { path, method, status: String(status) }, count: 1 });
  }

  #metrics(): Exposition {
    const to = this.#options.metrics();
    to.counter(
      'raftree_http_requests_total',
      'Answers to requests over HTTP.',
      [...this.#requests.values()].map(({ labels, count }) => [labels, count] as const),
    );
    to.histogram(
      'raftree_http_request_duration_seconds',
      'From the headers of a request to its answer, which may take longer to be sent.',
      this.#durations,
    );
    to.counter(
      'raftree_http_passed_on_total',
      'Requests passed on to the node that leads.',
      Object.entries(this.#backend.passedOn).map(([kind, count]) => [{ kind }, count] as const),
    );
    to.counter(
      'raftree_http_bad_requests_total',
      'Bytes that are no request, or no whole one.',
      this.#badRequests,
    );
    to.counter(
      'raftree_http_connections_refused_total',
      'Connections above a limit.',
      this.#refusedConnections,
    );
    to.gauge('raftree_http_buffered_bytes', 'Bodies and answers in memory.', this.#budget.heldBytes);
    return to;
  }
}

/** The path of the route, for metrics. */
interface Found {
  readonly path: string;
}

type Opened =
  | { readonly found: Found; readonly refusal: Answer; readonly request?: undefined }
  | { readonly found: Found; readonly request: HttpRequest; readonly handle: () => Promise<Answer> };

const CLOSE_TIMEOUT_MS = 2000;

/** In the midst of another answer nothing can be said. The request itself may be the one whose body is malformed. */
function mayAnswer({ pending, current }: Line): boolean {
  if (pending === 0) return true;
  return (
    pending === 1 && current !== undefined && !current.incoming.complete && !current.response.headersSent
  );
}

const NOBODY = { door: 'http', rights: { read: false, write: false, administrate: false } } as const;

/** There is no such path, or the path does not take the method. */
function refusalAt(matched: { readonly route: Route } | undefined, segments: readonly Buffer[]): Answer {
  if (!matched) {
    const hint = segments[1]?.toString() === 'kv' ? '; "/" within a key is written %2F' : '';
    return problem('ROUTE_NOT_FOUND', `there is nothing at this path${hint}`);
  }
  const methods = Object.keys(matched.route.operations);
  const allow = methods.flatMap((each) => (each === 'GET' ? ['GET', 'HEAD'] : [each])).join(', ');
  return problem('METHOD_NOT_ALLOWED', `this path takes ${allow}`, { headers: { allow } });
}

function isMatch(wanted: readonly string[], segments: readonly Buffer[]): boolean {
  return (
    wanted.length === segments.length &&
    wanted.every((name, i) => name.startsWith('{') || name === segments[i]?.toString('latin1'))
  );
}

function isMethod(method: string | undefined, operations: Route['operations']): method is Method {
  return method !== undefined && Object.hasOwn(operations, method);
}
