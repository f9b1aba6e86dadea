/** The limits of a channel. */
import { RaftreeError } from '../env/errors.js';

export interface ChannelOptions {
  /** Above this many unsent bytes the channel is not writable. At least 65536. */
  readonly highWaterBytes: number;
  /** At this many unsent bytes it becomes writable again. */
  readonly lowWaterBytes: number;
  /**
   * Whether the channel keeps reading while it is not writable. A server should not: requests that it does not read
   * produce no answers. A client must: if both sides stopped reading, they would wait for each other forever.
   */
  readonly readsWhileNotWritable: boolean;
  /** Above this many unsent bytes the channel is aborted at once (`SLOW_READER`). */
  readonly maxBufferedBytes: number;
  /** A channel that is not writable for this long is aborted (`SLOW_READER`). */
  readonly slowReaderTimeoutMs: number;
  /** A graceful close that takes longer than this becomes an abort. */
  readonly closeTimeoutMs: number;
}

export const DEFAULT_CHANNEL_OPTIONS: ChannelOptions = {
  highWaterBytes: 1024 * 1024,
  lowWaterBytes: 256 * 1024,
  readsWhileNotWritable: false,
  maxBufferedBytes: 64 * 1024 * 1024,
  slowReaderTimeoutMs: 10_000,
  closeTimeoutMs: 2_000,
};

/** Below this Node.js' sockets do not report when their buffered bytes have been sent. */
const MINIMUM_HIGH_WATER_BYTES = 64 * 1024;

/** Fills in the defaults. Throws `INVALID_OPTION`. */
export function channelOptions(given: Partial<ChannelOptions> = {}): ChannelOptions {
  const options = { ...DEFAULT_CHANNEL_OPTIONS, ...given };
  for (const [name, value] of Object.entries(options)) {
    if (typeof value === 'number' && !(value >= 0))
      throw new RaftreeError('INVALID_OPTION', `${name} must not be negative, got ${value}`);
  }
  const { lowWaterBytes, highWaterBytes, maxBufferedBytes } = options;
  if (
    highWaterBytes < MINIMUM_HIGH_WATER_BYTES ||
    lowWaterBytes > highWaterBytes ||
    maxBufferedBytes < highWaterBytes
  ) {
    throw new RaftreeError(
      'INVALID_OPTION',
      `needed: lowWaterBytes <= highWaterBytes <= maxBufferedBytes and highWaterBytes >= ${MINIMUM_HIGH_WATER_BYTES}; ` +
        `got ${lowWaterBytes}, ${highWaterBytes}, ${maxBufferedBytes}`,
    );
  }
  return options;
}
