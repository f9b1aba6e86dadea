/** A read of one key: its first attempt is the call itself. */
import type { ReceivedMessage } from '../protocol/message-handlers.js';
import type { MessageOf } from '../protocol/messages.js';
import type { CallOptions } from './client-options.js';
import { type CallUser, DirectCall } from './direct-call.js';
import type { NumberedRequest } from './node-connection.js';
import type { FailedAttempt, Router, Target } from './router.js';
import { unexpected } from './session-writer.js';

export class GetCall<Result> extends DirectCall<Result, MessageOf<'getReply'>> {
  readonly #router: Router;
  readonly #request: Extract<NumberedRequest, { type: 'get' }>;
  readonly #target: Target;

  constructor(
    user: CallUser,
    router: Router,
    request: Extract<NumberedRequest, { type: 'get' }>,
    target: Target,
    options: CallOptions,
    resultOf: (answer: MessageOf<'getReply'>) => Result,
  ) {
    super(user, options, resultOf);
    this.#router = router;
    this.#request = request;
    this.#target = target;
  }

  begin(): void {
    if (!this.#router.direct(this.#request, this, this.#target)) this.goOn(undefined);
  }

  answered(message: ReceivedMessage): void {
    if (message.type !== 'getReply') {
      this.failed(unexpected(message.type, 'get'));
      return;
    }
    this.pending = undefined;
    this.settle(message);
  }

  goOn(first: FailedAttempt | undefined): void {
    this.#router
      .ask(() => this.#request, this, this.#target, first)
      .then((answer) => {
        if (answer.type !== 'getReply') throw unexpected(answer.type, 'get');
        this.settle(answer);
      })
      .catch((error) => this.fail(error));
  }
}
