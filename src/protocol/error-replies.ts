/**
 * The last handler on an accepting side: whatever failed in front of it is told to the other side in an `error`
 * message, then the connection closes. A fault of our own is told as `INTERNAL`, without its details.
 */
import { RaftreeError } from '../env/errors.js';
import { ERROR_CODES, errorReply, isErrorCode } from './error-codes.js';
import type { MessageContext, MessageHandler } from './message-handlers.js';

export class ErrorReplies implements MessageHandler {
  failed(context: MessageContext, error: Error): void {
    if (error instanceof RaftreeError && isErrorCode(error.code)) {
      const about = error.info.requestId;
      const requestId = typeof about === 'number' ? about : 0;
      context.write(errorReply(requestId, error.code, error.message));
    } else {
      context.write(errorReply(0, 'INTERNAL', ERROR_CODES.INTERNAL.meaning));
    }
    context.channel.close(error);
  }
}
