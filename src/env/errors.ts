import { SYNC_CALL } from './env.js';

/**
 * The error class of all rooms. Programs test `code`, which is stable. `message` is for people and says what to do.
 * Each room declares its codes where it throws them.
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

/**
 * What is known of a write that failed, as `info.outcome` of its error. `notCommitted`: it has no effect, now or later.
 * `unknown`: it may have taken effect, or may yet.
 */
export type Outcome = 'notCommitted' | 'unknown';

/** The error of a request that was refused before anything was done. */
export function refused(code: string, message: string, info: object = {}): RaftreeError {
  return new RaftreeError(code, message, { info: { outcome: 'notCommitted', ...info } });
}

/** The `code` of any thrown value: of a RaftreeError or a system error (`ENOSPC`), otherwise undefined. */
export function errorCode(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null || !('code' in error)) return undefined;
  return typeof error.code === 'string' ? error.code : undefined;
}

/** Whether the system reports a full disk or an exhausted quota. */
export function isDiskFull(error: unknown): boolean {
  const code = errorCode(error);
  return code === 'ENOSPC' || code === 'EDQUOT';
}

/** Whether it was a sync that failed: what was written before it may be lost. */
export function isFailedSync(error: unknown): boolean {
  return typeof error === 'object' && error !== null && 'syscall' in error && error.syscall === SYNC_CALL;
}

/** Whether the system reports too many open files, in this process or in total. It passes when files are closed. */
export function isOutOfDescriptors(error: unknown): boolean {
  const code = errorCode(error);
  return code === 'EMFILE' || code === 'ENFILE';
}

/** Whether a full disk is the cause, reported by the system or by one of our rooms. The operation may be retried. */
export function isNoSpace(error: unknown): boolean {
  const code = errorCode(error);
  return isDiskFull(error) || code === 'LOG_NO_SPACE' || code === 'LSM_NO_SPACE';
}

/** The message of any thrown value, never its stack. */
export function errorMessage(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
