/** What a supervisor and Prometheus ask: whether the node lives, whether it can serve, and its metrics. */
import { EXPOSITION_CONTENT_TYPE, type Exposition } from '../../metrics/exposition.js';
import type { Answer } from './answer.js';
import { operation, type Route } from './route.js';
import { isSet, noQuery, readyQuery } from './schemas.js';

/** A condition for serving: `problem` is undefined if it holds. */
export interface ReadinessCheck {
  readonly name: string;
  readonly problem: string | undefined;
}

export interface NodeRouteParts {
  readonly readiness: () => readonly ReadinessCheck[];
  readonly metrics: () => Exposition;
}

export function nodeRoutes({ readiness, metrics }: NodeRouteParts): readonly Route[] {
  return [
    {
      path: '/livez',
      operations: {
        GET: operation({
          id: 'isAlive',
          summary: 'Whether the process answers',
          query: noQuery,
          isOpen: true,
          answers: { 200: { description: 'It does', content: 'text' } },
          handle: () => text(200, 'ok\n'),
        }),
      },
    },
    {
      path: '/readyz',
      operations: {
        GET: operation({
          id: 'isReady',
          summary: 'Whether the node can serve requests',
          query: readyQuery,
          isOpen: true,
          answers: {
            200: { description: 'It can', content: 'text' },
            503: { description: 'It cannot; "verbose" says why', content: 'text' },
          },
          handle: (_request, { verbose }) => {
            const checks = readiness();
            const isReady = checks.every(({ problem }) => problem === undefined);
            const lines = checks.map(({ name, problem }) =>
              problem === undefined ? `[+] ${name}` : `[-] ${name}: ${problem}`,
            );
            const shown = isSet(verbose) ? `${lines.join('\n')}\n` : '';
            return text(isReady ? 200 : 503, `${shown}${isReady ? 'ok' : 'not ready'}\n`);
          },
        }),
      },
    },
    {
      path: '/metrics',
      operations: {
        GET: operation({
          id: 'getMetrics',
          summary: 'Metrics in the text format of Prometheus',
          query: noQuery,
          answers: { 200: { description: 'The metrics', content: 'text' } },
          handle: () => ({
            status: 200,
            headers: { 'content-type': EXPOSITION_CONTENT_TYPE },
            body: metrics().toString(),
          }),
        }),
      },
    },
  ];
}

function text(status: number, body: string): Answer {
  return { status, headers: { 'content-type': 'text/plain; charset=utf-8' }, body };
}
