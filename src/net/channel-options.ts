/** The limits of one channel. */
import { RaftreeError } from '../env/errors.js';

export interface ChannelOptions {
  /** Above this many unsent bytes the channel is not writable. At least 65536. */
  readonly highWaterBytes: number;
  /** At this many unsent bytes it goes on. */
  readonly lowWaterBytes: number;
  /**
   * Whether the channel also stops reading while it is not writable: right for the side that answers, since what it
   * does not read makes no answers. The side that asks goes on reading: if both stopped, each would wait for the other.
   */
  readonly readsWhileNotWritable: boolean;
  /** Unsent output above this cuts the channel off at once (`SLOW_READER`). */
  readonly maxBufferedBytes: number;
  /** A channel that is not writable for this long is cut off (`SLOW_READER`). */
  readonly slowReaderTimeoutMs: number;
  /** A graceful close that the other side does not finish within this time becomes an abrupt one. */
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

/** Below this the system does not tell when what it buffers has been sent. */
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
