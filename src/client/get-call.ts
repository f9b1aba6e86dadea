/** A read of one key: its first attempt is the call itself. */
import type { ReceivedMessage } from '../protocol/message-handlers.js';
import type { MessageOf } from '../protocol/messages.js';
import type { CallOptions } from './client-options.js';
import { type CallUser, DirectCall } from './direct-call.js';
import type { NumberedRequest } from './node-connection.js';
import type { FailedAttempt, Router, Target } from './router.js';
import type { TabletCache } from './tablet-cache.js';
import { unexpected } from './unexpected.js';

type GetRequest = Omit<Extract<NumberedRequest, { type: 'get' }>, 'tablet'>;

/** Who answers a read: the leader of the tablet, any of the endpoints, or one of them. */
export type ReadFrom = 'leader' | Exclude<Target, number>;

export function targetOf(from: ReadFrom, tablet: number): Target {
  return from === 'leader' ? tablet : from;
}

export class GetCall<Result> extends DirectCall<Result, MessageOf<'getReply'>> {
  readonly #router: Router;
  readonly #tablets: TabletCache;
  readonly #request: GetRequest;
  readonly #from: ReadFrom;

  constructor(
    user: CallUser,
    router: Router,
    tablets: TabletCache,
    request: GetRequest,
    from: ReadFrom,
    options: CallOptions,
    resultOf: (answer: MessageOf<'getReply'>) => Result,
  ) {
    super(user, options, resultOf);
    this.#router = router;
    this.#tablets = tablets;
    this.#request = request;
    this.#from = from;
  }

  begin(): void {
    const tablet = this.#tablets.ownerOf(this.#request.key);
    if (!this.#router.direct({ ...this.#request, tablet }, this, targetOf(this.#from, tablet)))
      this.goOn(undefined);
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
    let failed = first;
    this.#tablets
      .withMap(this, () => {
        const tablet = this.#tablets.ownerOf(this.#request.key);
        const before = failed;
        failed = undefined;
        return this.#router.ask(
          () => ({ ...this.#request, tablet }),
          this,
          targetOf(this.#from, tablet),
          before,
        );
      })
      .then((answer) => {
        if (answer.type !== 'getReply') throw unexpected(answer.type, 'get');
        this.settle(answer);
      })
      .catch((error) => this.fail(error));
  }
}
