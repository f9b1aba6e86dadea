/** The page that shows the cluster, at `/`: plain files, without anything from elsewhere. It asks the other routes. */
import type { Answer } from './answer.js';
import type { LiveFeed } from './live.js';
import { operation, type Route } from './route.js';
import { noQuery } from './schemas.js';

/** The files of the page, and where they are served. */
export const PAGE_FILES = [
  { path: '/', name: 'index.html', type: 'text/html' },
  { path: '/page.css', name: 'page.css', type: 'text/css' },
  { path: '/page.js', name: 'page.js', type: 'text/javascript' },
  { path: '/draw.js', name: 'draw.js', type: 'text/javascript' },
] as const;

export const PAGE_HEADERS = {
  'content-security-policy':
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; " +
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  'referrer-policy': 'no-referrer',
  'cross-origin-opener-policy': 'same-origin',
} as const;

/** `page`: the bytes of a file of PAGE_FILES. The files tell nothing of the data: everybody gets them. */
export function pageRoutes(page: (name: string) => Uint8Array, live: LiveFeed): readonly Route[] {
  return [
    ...PAGE_FILES.map(({ path, name, type }): Route => {
      const answer: Answer = {
        status: 200,
        headers: { ...PAGE_HEADERS, 'content-type': `${type}; charset=utf-8` },
        body: page(name),
      };
      return {
        path,
        operations: {
          GET: operation({
            id: `get_${name.replace('.', '_')}`,
            summary: 'A file of the page that shows the cluster',
            query: noQuery,
            isOpen: true,
            answers: { 200: { description: 'The file', content: 'text', textType: type } },
            handle: () => answer,
          }),
        },
      };
    }),
    {
      path: '/v1/live',
      operations: {
        GET: operation({
          id: 'watchCluster',
          summary: 'How the cluster stands, twice a second, as server-sent events',
          query: noQuery,
          answers: {
            200: {
              description: 'Events "history", once, and "view"',
              content: 'text',
              textType: 'text/event-stream',
            },
          },
          handle: () => live.answer(),
        }),
      },
    },
  ];
}
