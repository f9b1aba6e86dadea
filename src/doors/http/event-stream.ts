/** The events of `/v1/watch`, as text. */
import type { WatchChange } from '../../client/tablet-watch.js';
import type { WatchPosition } from '../../client/watch.js';
import { bytesIn } from './schemas.js';

export const EVENT_STREAM = { 'content-type': 'text/event-stream' };
export const BEGINNING: Uint8Array = Buffer.from(': the changes follow\n\n');

/** `id`: what was told with this change, if it is the last one of its write. */
export function changeEvent(
  { type, key, value, version }: WatchChange,
  id: WatchPosition | undefined,
): string {
  const data = { ...bytesIn('key', key), ...(type === 'put' ? bytesIn('value', value) : {}), version };
  return `event: ${type}\n${id === undefined ? '' : `id: ${id}\n`}data: ${JSON.stringify(data)}\n\n`;
}

export function progressEvent(id: WatchPosition, data: object): Uint8Array {
  return Buffer.from(`event: progress\nid: ${id}\ndata: ${JSON.stringify(data)}\n\n`);
}

/** `from`: from where on changes are kept, if those that were due are not. */
export function endEvent(code: string, detail: string, from?: WatchPosition): Uint8Array {
  return Buffer.from(`event: end\ndata: ${JSON.stringify({ code, detail, from })}\n\n`);
}
