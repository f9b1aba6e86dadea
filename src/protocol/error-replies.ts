/**
 * The last handler of an accepting side. If a handler before it failed, it sends the other side an `error` message and
 * closes the connection. For a fault of this node the message has the code `INTERNAL`, and no details.
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
