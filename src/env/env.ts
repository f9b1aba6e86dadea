/**
 * The seam between the house and the world (after LevelDB's Env). Everything that is not a function of its inputs
 * (time, randomness, files, sockets, the identity of this process) is reached through an `Env`, so that the code
 * that runs in production also runs whole inside one deterministic thread. `real/` is the operating system,
 * `sim/` is the simulated world.
 */
export interface Env {
  readonly clock: Clock;
  readonly timers: Timers;
  readonly random: Random;
  readonly fs: FileSystem;
  readonly net: Network;
  readonly host: Host;
  /** Absent where everything runs in one thread, as in the simulated world. */
  readonly threads?: Threads;
}

export interface Clock {
  /** Milliseconds since some fixed point; never goes back. Fractional. */
  nowMs(): number;
  /** Milliseconds since 1970 by the wall clock; may jump. For people, never for a decision. */
  wallMs(): number;
}

export interface Timer {
  cancel(): void;
}

export interface Timers {
  /** Of any length; after Infinity it never runs. */
  after(delayMs: number, run: () => void): Timer;
  /** Runs once the events that have already arrived are handled: the end of this turn of the event loop. */
  endOfTurn(run: () => void): void;
}

export interface Random {
  /** Uniform in [0, 1). */
  float(): number;
  /** Uniform integer in [0, 2^32). */
  uint32(): number;
  bytes(count: number): Buffer;
}

export type OpenMode =
  /** Must exist; reading only. */
  | 'read'
  /** Must exist; reading and writing. */
  | 'modify'
  /** Must not exist; reading and writing. */
  | 'create';

/**
 * Errors are the operating system's, with their `code` (`ENOENT`, `EEXIST`, `EACCES`, `ENOSPC`, `EIO` …).
 * Metadata calls are synchronous: they take microseconds and keep their callers simple.
 */
export interface FileSystem {
  open(path: string, mode: OpenMode): File;
  exists(path: string): boolean;
  readFile(path: string): Buffer;
  /** Whether every user of the machine may read the file. False where nobody can tell. */
  isReadableByOthers(path: string): boolean;
  /** Names in a directory, sorted; never `.` or `..`. */
  list(directory: string): string[];
  /** The path of what exists, absolute and without symbolic links. */
  realPath(path: string): string;
  /** Creates a directory and the missing ones above it; syncs each parent that got a new name. */
  makeDirectory(path: string): void;
  rename(from: string, to: string): void;
  /** A second name for a file. `EEXIST` if the name is taken. */
  link(from: string, to: string): void;
  unlink(path: string): void;
  /** Removes a directory and all below it. Nothing happens if it does not exist. */
  removeTree(path: string): void;
  /** As `unlink`; a large file takes the system milliseconds. */
  unlinkLater(path: string): Promise<void>;
  /** Makes the names of a directory durable. */
  syncDirectory(path: string): void;
  /** Makes the names that a directory has now durable, while other events run. */
  syncDirectoryLater(path: string): Promise<void>;
  /**
   * Listens on a UNIX socket of a new name, until it is closed or this process, or thread, ends. Keeps no process
   * alive.
   */
  bindSocket(path: string): Promise<BoundSocket>;
  /** Whether somebody who lives listens on a socket of that name; not if there is none, or something else. */
  isListening(path: string): Promise<boolean>;
}

export interface BoundSocket {
  /** Stops listening. The name may stay. */
  close(): void;
}

/**
 * The `syscall` of an error that a failed sync of a file gave, also within `writeDurable` where it is a call of its
 * own.
 */
export const SYNC_CALL = 'fdatasync';

export interface File {
  readonly path: string;
  sizeBytes(): number;
  /** Fills `target` from `position` on; returns the bytes read, fewer than asked only at the end of the file. */
  readSync(target: Uint8Array, position: number): number;
  read(target: Uint8Array, position: number): Promise<number>;
  /**
   * Writes all bytes or throws; after an error any part of them may be in the file. Survives a kill of the process, not
   * a power cut.
   */
  writeSync(chunks: readonly Uint8Array[], position: number): void;
  write(chunks: readonly Uint8Array[], position: number): Promise<void>;
  /**
   * Writes all bytes and makes them durable, and the size if the file grows by them. It covers nothing else: what was
   * written before, and a truncation, stay unsynced until `sync`.
   */
  writeDurable(chunks: readonly Uint8Array[], position: number): Promise<void>;
  /** fdatasync: makes all completed writes, and the size, durable. After an error, never try again: reopen. */
  sync(): Promise<void>;
  syncNow(): void;
  truncate(sizeBytes: number): void;
  close(): void;
}

export interface Address {
  readonly host: string;
  readonly port: number;
}

export interface Network {
  /**
   * Resolves when connections are accepted. Port 0 picks a free one. Rejects with the system's code (`EADDRINUSE` …).
   */
  listen(address: Address, accept: (socket: Socket) => void): Promise<Listener>;
  /** Resolves when connected. Rejects with the system's code, or `ETIMEDOUT`. */
  connect(address: Address, timeoutMs: number): Promise<Socket>;
}

export interface Listener {
  readonly address: Address;
  /** Stops accepting. Connections that are open stay open. */
  close(): Promise<void>;
}

export interface SocketHandler {
  data(chunk: Buffer): void;
  /** All written bytes have reached the system. */
  drained(): void;
  /** Called exactly once, last. */
  closed(error: Error | undefined): void;
}

/** After so much silence the system asks the other end of a connection whether it is there (TCP keep-alive). */
export const KEEP_ALIVE_IDLE_MS = 15_000;
/** An end that has not answered by then is gone: `closed` with `ETIMEDOUT`. */
export const KEEP_ALIVE_TIMEOUT_MS = KEEP_ALIVE_IDLE_MS + 10_000;

/** A connected byte stream, kept alive. Nothing is read until a handler is set. */
export interface Socket {
  readonly remote: string;
  /** Bytes written here that the system has not taken yet. */
  readonly bufferedBytes: number;
  handle(handler: SocketHandler): void;
  write(chunks: readonly Uint8Array[]): void;
  pause(): void;
  resume(): void;
  /** Sends what is buffered, then closes. */
  end(): void;
  /** Closes now. */
  destroy(error?: Error): void;
}

/** Which process, of which boot, started when: enough to tell a live holder of a lock from a dead one. */
export interface ProcessIdentity {
  readonly pid: number;
  /** Empty where the system does not tell. */
  readonly bootId: string;
  /** In the system's own unit; empty where the system does not tell. */
  readonly startTime: string;
  /** Within which `pid` counts; empty where the system does not tell. */
  readonly pidNamespace: string;
}

export interface Host {
  self(): ProcessIdentity;
  /** Also if it is of another process namespace of this boot, of which nothing can be known. */
  isAlive(process: ProcessIdentity): boolean;
  /** How many files and sockets this process may have open at a time, as far as the system tells. */
  maxDescriptors(): number;
}

/** What most systems allow a process at least, and what is taken for the limit where the system does not tell. */
export const USUAL_MAX_DESCRIPTORS = 1024;

/** Further threads of this process, each with memory of its own but for what is in SharedArrayBuffers. */
export interface Threads {
  /** The files that threads see: those of an env with other ones are not to be worked on by a thread. */
  readonly fs: FileSystem;
  /** Starts a module as a thread. It does not keep the process alive unless `hold` is called. */
  start(entry: URL, data: unknown, handler: ThreadHandler): Thread;
}

export interface ThreadHandler {
  message(message: unknown): void;
  /** Called once, last: it has failed to start, thrown, or ended. */
  ended(error: Error): void;
}

export interface Thread {
  /** Copies the message, but for SharedArrayBuffers. */
  post(message: unknown): void;
  /** While held it keeps the process alive. */
  hold(): void;
  release(): void;
  terminate(): Promise<void>;
}

/** What rooms report to whoever runs them. The server gives a structured logger, tests a recorder. */
export interface Logger {
  debug(fields: Readonly<Record<string, unknown>>, message: string): void;
  info(fields: Readonly<Record<string, unknown>>, message: string): void;
  warn(fields: Readonly<Record<string, unknown>>, message: string): void;
  error(fields: Readonly<Record<string, unknown>>, message: string): void;
}

export const silentLogger: Logger = {
  debug() {},
  info() {},
  warn() {},
  error() {},
};

/** `host:port` or `[v6]:port`; a host has at most 255 characters. Throws a plain Error that names the text. */
export function parseAddress(text: string): Address {
  const match = /^(?:\[([^\]]{1,255})\]|([^:[\]\s]{1,255})):(\d{1,5})$/.exec(text);
  const port = Number(match?.[3]);
  if (!match || port > 65535)
    throw new Error(`"${shortened(text)}" is not host:port with a port from 0 to 65535`);
  return { host: match[1] ?? match[2] ?? '', port };
}

export function formatAddress(address: Address): string {
  return address.host.includes(':') ? `[${address.host}]:${address.port}` : `${address.host}:${address.port}`;
}

function shortened(text: string): string {
  return text.length > 300 ? `${text.slice(0, 300)}…` : text;
}
