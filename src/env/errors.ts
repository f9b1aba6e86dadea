/**
 * The one error class of the house. `code` is stable and meant for programs; `message` is meant for people and
 * says what to do. Rooms declare their codes where they throw them.
 */
export class RaftreeError extends Error {
  readonly code: string;
  readonly info: Readonly<Record<string, unknown>>;

  constructor(
    code: string,
    message: string,
    options: { cause?: unknown; info?: Readonly<Record<string, unknown>> } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'RaftreeError';
    this.code = code;
    this.info = options.info ?? {};
  }
}

/** The `code` of any thrown value: a RaftreeError's, a system error's (`ENOSPC`), or undefined. */
export function errorCode(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null || !('code' in error)) return undefined;
  return typeof error.code === 'string' ? error.code : undefined;
}

/** Whether the system says that a disk, or a quota, is full. */
export function isDiskFull(error: unknown): boolean {
  const code = errorCode(error);
  return code === 'ENOSPC' || code === 'EDQUOT';
}

/** Whether the system says that too many files are open, in this process or in all: it passes when some are closed. */
export function isOutOfDescriptors(error: unknown): boolean {
  const code = errorCode(error);
  return code === 'EMFILE' || code === 'ENFILE';
}

/** Whether a full disk is the reason, whoever says so: it may be tried again. */
export function isNoSpace(error: unknown): boolean {
  const code = errorCode(error);
  return isDiskFull(error) || code === 'LOG_NO_SPACE' || code === 'LSM_NO_SPACE';
}

/** The message of any thrown value, never its stack. */
export function errorMessage(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
