/** The operating system's network, whose answers can be lost: what is sent arrives, and nothing comes back. */
import type { Network, Socket } from '../../src/env/env.js';
import { realEnv } from '../../src/env/real/real-env.js';

export class DeafNetwork implements Network {
  readonly #real = realEnv().net;
  /** Of their streams a piece is lost. */
  readonly #torn = new Set<Socket>();
  #isDeaf = false;

  readonly listen: Network['listen'] = (address, accept) => this.#real.listen(address, accept);

  async connect(...to: Parameters<Network['connect']>): Promise<Socket> {
    const socket = await this.#real.connect(...to);
    const handle = socket.handle.bind(socket);
    socket.handle = (handler) =>
      handle({
        data: (chunk) => {
          if (this.#isDeaf) this.#torn.add(socket);
          else handler.data(chunk);
        },
        drained: () => handler.drained(),
        closed: (error) => {
          this.#torn.delete(socket);
          handler.closed(error);
        },
      });
    return socket;
  }

  loseAnswers(): void {
    this.#isDeaf = true;
  }

  /** Connections that have lost something are closed. */
  hearAgain(): void {
    this.#isDeaf = false;
    for (const socket of [...this.#torn]) socket.destroy();
  }
}
