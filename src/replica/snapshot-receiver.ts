/**
 * Receives a snapshot into a directory of its own. Chunks are checked and written in order. The directory gets its
 * final name when all files in it are synced. Then the core decides whether the snapshot is used; if so, a record of
 * the Raft log names the directory.
 */
import type { Env, File, Logger } from '../env/env.js';
import { errorCode, errorMessage } from '../env/errors.js';
import { OnceAMinute } from '../env/once-a-minute.js';
import type { NodeId, SnapshotBase } from '../raft/types.js';
import { crc32 } from '../record/checksum.js';
import type { GroupStateMachine } from './group-state-machine.js';
import type { CorePort, Transport } from './ports.js';
import type { SnapshotChunk, SnapshotFile, SnapshotOffer } from './snapshot-messages.js';
import type { SnapshotTurn, SnapshotTurns } from './snapshot-turns.js';
import { type StateDirectories, stateDirectoryName } from './state-directories.js';

export interface SnapshotReceiverParts {
  readonly env: Env;
  readonly logger: Logger;
  readonly directories: StateDirectories;
  readonly transport: Transport;
  readonly turns: SnapshotTurns;
  /** A sender that says nothing for so long is given up: others may be waiting for its turn. */
  readonly stallTimeoutMs: number;
  readonly core: Pick<CorePort, 'commitIndex'>;
  /** Its `check` finds damage that the sender's disk did before the checksums of the chunks were taken. */
  readonly stateMachine: Pick<GroupStateMachine<unknown>, 'check'>;
  readonly installer: {
    /** All of the snapshot is durable under this name. */
    arrived(from: NodeId, term: number, snapshot: SnapshotBase, name: string): void;
  };
}

interface Incoming {
  readonly from: NodeId;
  /** The sender's term in its last offer. */
  term: number;
  readonly checkpoint: number;
  readonly snapshot: SnapshotBase;
  readonly files: readonly SnapshotFile[];
  /** Of the directory while the snapshot is not whole. */
  readonly name: string;
  file: number;
  offset: number;
  open: File | undefined;
}

const FILE_NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/;
const MAX_FILES = 100_000;
/** Of all files of a snapshot together: 16 TiB. */
const MAX_SNAPSHOT_BYTES = 2 ** 44;
/** No cluster writes so many entries. A log that began higher could run out of numbers. */
const MAX_INDEX = 2 ** 50;
/** Offers and chunks that wait for the disk. A sender sends the next chunk only when it is asked for it. */
const MAX_WAITING_MESSAGES = 4;

export class SnapshotReceiver {
  readonly #parts: SnapshotReceiverParts;
  #incoming: Incoming | undefined;
  /** Messages are handled one after the other. */
  #work: Promise<void> = Promise.resolve();
  /** Messages that are not handled to their end. */
  #waiting = 0;
  #closed = false;
  /** Asked for with the first offer. Nothing is received before it is given. */
  #turn: SnapshotTurn | undefined;
  /** The newest offer while the turn is not given. */
  #waitingOffer: { readonly from: NodeId; readonly offer: SnapshotOffer } | undefined;
  /** When the turn came, the last chunk, or the last offer while the turn is not given. */
  #heardMs = 0;
  readonly #refusals: OnceAMinute;

  constructor(parts: SnapshotReceiverParts) {
    this.#parts = parts;
    this.#refusals = new OnceAMinute(parts.env.clock);
  }

  offered(from: NodeId, offer: SnapshotOffer): void {
    const fault = faultOf(offer);
    if (fault !== undefined) {
      if (this.#refusals.isDue(`${from}`))
        this.#parts.logger.error({ from }, `node ${from} offers what no snapshot is: ${fault}`);
      return;
    }
    // Whoever has the turn must send: offers alone would keep it from others.
    if (!this.#turn?.isGiven) this.#heardMs = this.#parts.env.clock.nowMs();
    const current = this.#incoming;
    if (this.#waiting > 0 && current?.from === from && current.checkpoint === offer.checkpoint) {
      current.term = offer.term;
      this.#sayBusy(current);
    } else if (this.#waiting < MAX_WAITING_MESSAGES) this.#enqueue(() => this.#begin(from, offer));
  }

  chunk(from: NodeId, chunk: SnapshotChunk): void {
    if (this.#waiting >= MAX_WAITING_MESSAGES) return;
    // The received buffer is reused after this turn, and the bytes are written later: so they are copied.
    const bytes = Buffer.from(chunk.bytes);
    this.#enqueue(() => this.#take(from, { ...chunk, bytes }));
  }

  get isReceiving(): boolean {
    return this.#incoming !== undefined || this.#waiting > 0 || this.#turn !== undefined;
  }

  /** Drops a partial snapshot of entries that the log has by now, and ends the turn of a silent sender. */
  forgetUnneeded(): void {
    if (this.#waiting > 0) return;
    const { core, env, stallTimeoutMs } = this.#parts;
    if (this.#incoming && this.#incoming.snapshot.index <= core.commitIndex) this.#abandon();
    // What has arrived stays: if the sender comes back, it goes on from there, in another turn.
    if (this.#turn && env.clock.nowMs() - this.#heardMs > stallTimeoutMs) this.#endTurn();
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#work;
    this.#abandon();
  }

  #enqueue(work: () => void | Promise<void>): void {
    if (this.#closed) return;
    this.#waiting++;
    this.#work = this.#work
      .then(() => (this.#closed ? undefined : work()))
      .catch((error: unknown) => {
        this.#parts.logger.error(
          { code: errorCode(error) },
          `a snapshot could not be received: ${errorMessage(error)}; it is asked for again`,
        );
        this.#abandon();
      })
      .finally(() => {
        this.#waiting--;
      });
  }

  #begin(from: NodeId, offer: SnapshotOffer): void {
    const { env, directories, core } = this.#parts;
    const { checkpoint, snapshot, files, term } = offer;
    if (snapshot.index <= core.commitIndex) {
      this.#want(from, term, checkpoint, files.length, 0);
      return;
    }
    this.#turn ??= this.#parts.turns.ask(() => this.#turnCame());
    if (!this.#turn.isGiven) {
      this.#waitingOffer = { from, offer };
      this.#sayBusy({ ...offer, from, file: 0 });
      return;
    }
    const current = this.#incoming;
    if (current?.from === from && current.checkpoint === checkpoint) current.term = term;
    else {
      this.#drop();
      const name = `receive-${snapshot.index}-${snapshot.term}`;
      env.fs.removeTree(directories.pathOf(name));
      env.fs.makeDirectory(directories.pathOf(name));
      this.#incoming = {
        from,
        term,
        checkpoint,
        snapshot,
        files,
        name,
        file: 0,
        offset: 0,
        open: undefined,
      };
    }
    this.#askForMore();
  }

  async #take(from: NodeId, chunk: SnapshotChunk): Promise<void> {
    const incoming = this.#incoming;
    if (!incoming || incoming.from !== from || incoming.checkpoint !== chunk.checkpoint) return;
    if (!this.#turn?.isGiven) return;
    this.#heardMs = this.#parts.env.clock.nowMs();
    const described = incoming.files[incoming.file];
    const isExpected = chunk.file === incoming.file && chunk.offset === incoming.offset;
    const fits = described !== undefined && chunk.offset + chunk.bytes.length <= described.sizeBytes;
    if (!isExpected || !fits) return;
    if (crc32(chunk.bytes) === chunk.checksum) {
      const { env, directories } = this.#parts;
      incoming.open ??= env.fs.open(`${directories.pathOf(incoming.name)}/${described.name}`, 'create');
      if (chunk.bytes.length > 0) await incoming.open.write([chunk.bytes], chunk.offset);
      incoming.offset += chunk.bytes.length;
      if (incoming.offset === described.sizeBytes) {
        await incoming.open.sync();
        incoming.open.close();
        incoming.open = undefined;
        incoming.file++;
        incoming.offset = 0;
      }
    }
    if (incoming.file < incoming.files.length) this.#askForMore();
    else await this.#finish(incoming);
  }

  async #finish(incoming: Incoming): Promise<void> {
    const { env, directories, stateMachine, installer } = this.#parts;
    const { snapshot, from, term, checkpoint, files } = incoming;
    const received = directories.pathOf(incoming.name);
    env.fs.syncDirectory(received);
    await stateMachine.check(received);
    if (this.#closed) return;
    this.#incoming = undefined;
    const name = stateDirectoryName(snapshot);
    env.fs.removeTree(directories.pathOf(name));
    env.fs.rename(received, directories.pathOf(name));
    env.fs.syncDirectory(directories.path);
    this.#endTurn();
    installer.arrived(from, term, snapshot, name);
    this.#want(from, term, checkpoint, files.length, 0);
  }

  #askForMore(): void {
    const incoming = this.#incoming;
    if (!incoming) return;
    this.#want(incoming.from, incoming.term, incoming.checkpoint, incoming.file, incoming.offset);
  }

  #sayBusy({
    from,
    term,
    checkpoint,
    files,
    file,
  }: Omit<Incoming, 'snapshot' | 'name' | 'offset' | 'open'>): void {
    const at = Math.min(file, files.length - 1);
    this.#want(from, term, checkpoint, at, (files[at]?.sizeBytes ?? 0) + 1);
  }

  #want(to: NodeId, term: number, checkpoint: number, file: number, offset: number): void {
    this.#parts.transport.send(to, { type: 'snapshotWanted', term, checkpoint, file, offset });
  }

  /** The sender of the newest offer has waited for this; if it is silent since, the next tick gives it up. */
  #turnCame(): void {
    this.#heardMs = this.#parts.env.clock.nowMs();
    const { from, offer } = this.#waitingOffer ?? {};
    this.#waitingOffer = undefined;
    if (from !== undefined && offer) this.#enqueue(() => this.#begin(from, offer));
  }

  #endTurn(): void {
    this.#waitingOffer = undefined;
    this.#turn?.end();
    this.#turn = undefined;
  }

  #abandon(): void {
    this.#drop();
    this.#endTurn();
  }

  /** Removes what has arrived. */
  #drop(): void {
    const incoming = this.#incoming;
    if (!incoming) return;
    this.#incoming = undefined;
    incoming.open?.close();
    this.#parts.directories.remove(incoming.name);
  }
}

/** What is wrong with an offer. Checked before anything is stored. */
function faultOf({ term, snapshot, files }: SnapshotOffer): string | undefined {
  if (snapshot.index > MAX_INDEX) return `it ends with entry ${snapshot.index}`;
  if (snapshot.term > term) return `it ends with an entry of term ${snapshot.term}, which is yet to come`;
  if (snapshot.configuration.voters.length === 0) return 'its group has no voters';
  if (files.length === 0 || files.length > MAX_FILES) return `it has ${files.length} files`;
  const names = new Set(files.map(({ name }) => name));
  if (names.size < files.length || files.some(({ name }) => !FILE_NAME.test(name)))
    return 'its files have no such names';
  const sizeBytes = files.reduce((sum, file) => sum + file.sizeBytes, 0);
  return sizeBytes > MAX_SNAPSHOT_BYTES
    ? `it has ${sizeBytes} bytes, more than ${MAX_SNAPSHOT_BYTES}`
    : undefined;
}
