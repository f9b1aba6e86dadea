/**
 * The last handler on an accepting side: whatever failed in front of it is told to the other side in an `error`
 * message, then the connection closes. A fault of our own is told as `INTERNAL`, without its details.
 */
import { RaftreeError } from '../env/errors.js';
import type { Handler, HandlerContext } from '../net/pipeline.js';
import { ERROR_CODES, errorReply, isErrorCode } from './error-codes.js';

export class ErrorReplies implements Handler {
  failed(context: HandlerContext, error: Error): void {
    const { channel } = context;
    if (error instanceof RaftreeError && isErrorCode(error.code)) {
      const about = error.info.requestId;
      const requestId = typeof about === 'number' ? about : 0;
      channel.write(errorReply(requestId, error.code, error.message));
    } else {
      channel.write(errorReply(0, 'INTERNAL', ERROR_CODES.INTERNAL.meaning));
    }
    channel.close(error);
  }
}
