/**
 * Who may ask, and for what. HTTP has no proof of the cluster secret, and the secret itself is never sent; so there are
 * tokens of its own (`http.tokenFile`, `http.adminTokenFile`).
 *
 * Without a token a browser on the node's machine must not be made to ask for a page from elsewhere: a host name may
 * be made to point here (DNS rebinding), so the Host must be an address or localhost; and a page of another origin may
 * send simple requests, so those are refused too.
 */
import type { IncomingMessage } from 'node:http';
import type { Caller } from '../../kv/requests.js';
import { isLoopback } from '../../net/hosts.js';
import { isOneOf } from '../../security/token.js';
import type { Answer } from './answer.js';
import { problem } from './problem.js';

export interface HttpSecurity {
  /** If there are any, every request needs one of them, or of the others. */
  readonly tokens: readonly Uint8Array[];
  /** They give the right to change members and leaders. */
  readonly adminTokens: readonly Uint8Array[];
  readonly hasClusterSecret: boolean;
  /** Every machine that reaches this node is trusted. */
  readonly insecure: boolean;
}

export function callerOf(security: HttpSecurity, request: IncomingMessage): Caller | Answer {
  const { tokens, adminTokens } = security;
  const given = tokenIn(request);
  if (given === undefined) {
    if (tokens.length > 0) return unauthenticated('this node wants a token');
    return refusedBrowser(request) ?? callerWho(isTrusted(security, request));
  }
  if (isOneOf(adminTokens, given)) return callerWho(true);
  if (isOneOf(tokens, given))
    return refusedBrowser(request, false) ?? callerWho(isTrusted(security, request));
  return unauthenticated('this node does not know the token');
}

/** As in the native door: without a secret, who is on the node's machine may change members. */
function isTrusted({ adminTokens, hasClusterSecret, insecure }: HttpSecurity, { socket }: IncomingMessage) {
  if (hasClusterSecret || adminTokens.length > 0) return false;
  return insecure || isLoopback(socket.remoteAddress ?? '');
}

function callerWho(mayAdministrate: boolean): Caller {
  return { door: 'http', rights: { read: true, write: true, administrate: mayAdministrate } };
}

function tokenIn({ headers }: IncomingMessage): Uint8Array | undefined {
  if (headers.authorization === undefined) return undefined;
  const match = /^Bearer +(\S+) *$/i.exec(headers.authorization);
  // Anything else is a token that nobody has.
  return Buffer.from(match?.[1] ?? '', 'latin1');
}

function refusedBrowser({ headers, rawHeaders }: IncomingMessage, checksHost = true): Answer | undefined {
  const host = headers.host ?? '';
  const hosts = rawHeaders.filter((name, i) => i % 2 === 0 && name.toLowerCase() === 'host').length;
  if (checksHost && (hosts !== 1 || !isAddressOrLocalhost(host))) {
    return problem(
      'FOREIGN_HOST',
      'the Host of a request without a token is an IP address or localhost; use one, or set http.tokenFile',
    );
  }
  const { origin } = headers;
  const site = headers['sec-fetch-site'];
  const isForeign =
    (origin !== undefined && origin.replace(/^https?:\/\//, '') !== host) ||
    site === 'cross-site' ||
    site === 'same-site';
  return isForeign ? problem('FOREIGN_ORIGIN', 'a page of another origin may not ask this node') : undefined;
}

export function isAddressOrLocalhost(host: string): boolean {
  return /^(?:localhost|\d{1,3}(?:\.\d{1,3}){3}|\[[0-9a-f:.]+\])(?::\d{1,5})?$/i.test(host);
}

function unauthenticated(detail: string): Answer {
  return problem('UNAUTHENTICATED', `${detail}: send "Authorization: Bearer TOKEN"`, {
    headers: { 'www-authenticate': 'Bearer realm="raftree"' },
  });
}

export function howToAdministrate({ hasClusterSecret, adminTokens }: HttpSecurity): string {
  if (adminTokens.length > 0) return 'to change members and leaders, send a token of http.adminTokenFile';
  return hasClusterSecret
    ? 'this cluster has a secret: to change members and leaders by HTTP, set http.adminTokenFile'
    : 'members and leaders can be changed only from the machine of a node, by 127.0.0.1; or set http.adminTokenFile';
}
