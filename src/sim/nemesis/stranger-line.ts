/** A connection of a stranger: sends any bytes, and decodes what comes back. */
import type { Env, Socket } from '../../env/env.js';
import { encodeFrame } from '../../net/frame-encoder.js';
import { decodeMessage, encodeMessage } from '../../protocol/codec.js';
import { type Message, type OutboundMessage, PROTOCOL_VERSION } from '../../protocol/messages.js';
import { listed } from '../run/node-json.js';

const CONNECT_TIMEOUT_MS = 1000;
/** The longest time to wait for an answer. */
const PATIENCE_MS = 200;
const LOOK_AGAIN_MS = 5;

export class StrangerLine {
  readonly #env: Env;
  readonly #socket: Socket;
  #received = Buffer.alloc(0);
  #isOpen = true;
  /** The messages that came back. */
  readonly messages: Message[] = [];

  /** Undefined if the connection is refused. */
  static async open(env: Env, host: string, port: 'peer' | 'client'): Promise<StrangerLine | undefined> {
    const at = listed({ id: 0, host })[port];
    const colon = at.lastIndexOf(':');
    const address = { host: at.slice(0, colon), port: Number(at.slice(colon + 1)) };
    try {
      return new StrangerLine(env, await env.net.connect(address, CONNECT_TIMEOUT_MS));
    } catch {
      return undefined;
    }
  }

  private constructor(env: Env, socket: Socket) {
    this.#env = env;
    this.#socket = socket;
    socket.handle({
      data: (chunk) => this.#take(chunk),
      drained: () => {},
      closed: () => {
        this.#isOpen = false;
      },
    });
  }

  get isOpen(): boolean {
    return this.#isOpen;
  }

  sendBytes(bytes: Uint8Array): void {
    this.#socket.write([bytes]);
  }

  send(...messages: readonly OutboundMessage[]): void {
    for (const message of messages) this.#socket.write(encodeFrame(encodeMessage(message)));
  }

  /** Says hello as a node. */
  hello(nodeId: number, storeId: string): void {
    const identity = { clusterId: 'simulated', nodeId, storeId };
    this.send({ type: 'hello', protocolVersion: PROTOCOL_VERSION, role: 'peer', ...identity });
  }

  /** Says hello as a client, without naming a cluster. */
  clientHello(): void {
    const identity = { clusterId: '', nodeId: 0, storeId: '' };
    this.send({ type: 'hello', protocolVersion: PROTOCOL_VERSION, role: 'client', ...identity });
  }

  /** The first message of this type that has come, or comes soon. */
  async next<T extends Message['type']>(type: T): Promise<Extract<Message, { type: T }> | undefined> {
    const untilMs = this.#env.clock.nowMs() + PATIENCE_MS;
    for (;;) {
      const found = this.messages.find((one): one is Extract<Message, { type: T }> => one.type === type);
      if (found || !this.#isOpen || this.#env.clock.nowMs() >= untilMs) return found;
      await new Promise<void>((resolve) => this.#env.timers.after(LOOK_AGAIN_MS, resolve));
    }
  }

  close(): void {
    this.#socket.destroy();
  }

  #take(chunk: Buffer): void {
    this.#received = Buffer.concat([this.#received, chunk]);
    while (this.#received.length >= 8) {
      const end = 8 + this.#received.readUInt32BE(4);
      if (this.#received.length < end) return;
      const frame = { type: this.#received.readUInt32BE(0), body: this.#received.subarray(8, end) };
      this.#received = this.#received.subarray(end);
      try {
        this.messages.push(decodeMessage(frame));
      } catch {
        // Messages that strangers need not decode.
      }
    }
  }
}
