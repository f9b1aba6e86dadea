/**
 * The interface to the operating system (after LevelDB's Env). All that is not a pure function (time, randomness,
 * files, sockets, the identity of this process) goes through an `Env`. So the production code also runs unchanged
 * inside one deterministic thread. `real/` is the operating system, `sim/` is the simulated world.
 */
export interface Env {
  readonly clock: Clock;
  readonly timers: Timers;
  readonly random: Random;
  readonly fs: FileSystem;
  readonly net: Network;
  readonly host: Host;
  /** Absent where everything runs in one thread, as in the simulation. */
  readonly threads?: Threads;
}

export interface Clock {
  /** Milliseconds since a fixed but arbitrary point, with fractions. Monotonic. */
  nowMs(): number;
  /** Milliseconds since 1970 by the wall clock. It may jump: show it to people, never decide by it. */
  wallMs(): number;
}

export interface Timer {
  cancel(): void;
}

export interface Timers {
  /** Delays may have any length; with Infinity, `run` is never called. */
  after(delayMs: number, run: () => void): Timer;
  /** Runs at the end of this turn of the event loop, after the events that have already arrived. */
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
  /** The file must exist. Reading only. */
  | 'read'
  /** The file must exist. Reading and writing. */
  | 'modify'
  /** The file must not exist. Reading and writing. */
  | 'create';

/**
 * Errors are the system's own, with their `code` (`ENOENT`, `EEXIST`, `EACCES`, `ENOSPC`, `EIO` …). Metadata calls are
 * synchronous: they take microseconds and keep their callers simple.
 */
export interface FileSystem {
  open(path: string, mode: OpenMode): File;
  exists(path: string): boolean;
  readFile(path: string): Buffer;
  /** Whether every user of the machine may read the file. False where the system does not say. */
  isReadableByOthers(path: string): boolean;
  /** The names in a directory, sorted, without `.` and `..`. */
  list(directory: string): string[];
  /** The absolute path without symbolic links. The path must exist. */
  realPath(path: string): string;
  /** Creates a directory and its missing parents. Syncs each parent that got a new entry. */
  makeDirectory(path: string): void;
  rename(from: string, to: string): void;
  /** Creates a hard link. `EEXIST` if the name is taken. */
  link(from: string, to: string): void;
  unlink(path: string): void;
  /** Removes a directory with all its contents. Does nothing if it does not exist. */
  removeTree(path: string): void;
  /** Like `unlink`, but asynchronous: removing a large file takes milliseconds. */
  unlinkLater(path: string): Promise<void>;
  /** fsync of a directory: makes its file names durable. */
  syncDirectory(path: string): void;
  /** Like `syncDirectory`, but asynchronous. Covers the names that exist at the call. */
  syncDirectoryLater(path: string): Promise<void>;
  /** What may still be written where the path lies, by this program; undefined if the system does not say. */
  freeBytes(path: string): Promise<number | undefined>;
  /**
   * Listens on a UNIX socket under a new name until it is closed, or until this process or thread ends. Does not keep
   * the process alive.
   */
  bindSocket(path: string): Promise<BoundSocket>;
  /** Whether a living process listens on the socket of this name. False if there is no such name or it is no socket. */
  isListening(path: string): Promise<boolean>;
}

export interface BoundSocket {
  /** Stops listening. The name may stay. */
  close(): void;
}

/**
 * The `syscall` of the error when a sync of a file fails; also in `writeDurable` if that syncs with a separate call.
 */
export const SYNC_CALL = 'fdatasync';

export interface File {
  readonly path: string;
  sizeBytes(): number;
  /** Fills `target` from `position` on. Returns the bytes read: fewer than asked only at the end of the file. */
  readSync(target: Uint8Array, position: number): number;
  read(target: Uint8Array, position: number): Promise<number>;
  /**
   * Writes all bytes or throws. After an error any part of them may be in the file. The bytes survive a kill of the
   * process, but not a power cut.
   */
  writeSync(chunks: readonly Uint8Array[], position: number): void;
  write(chunks: readonly Uint8Array[], position: number): Promise<void>;
  /**
   * Writes all bytes and makes them durable, with the file's size if it grows by them. It covers only these bytes.
   * Earlier writes and truncations stay unsynced until `sync`.
   */
  writeDurable(chunks: readonly Uint8Array[], position: number): Promise<void>;
  /** Like `writeDurable`, but it blocks this thread: for a few bytes that is faster than two changes of the thread. */
  writeDurableNow(chunks: readonly Uint8Array[], position: number): void;
  /** fdatasync: makes all completed writes and the size durable. After an error do not retry: reopen the file. */
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
   * Resolves when connections are accepted. Port 0 picks a free port. Rejects with the system's code (`EADDRINUSE` …).
   */
  listen(address: Address, accept: (socket: Socket) => void): Promise<Listener>;
  /** Resolves when connected. Rejects with the system's code, or `ETIMEDOUT`. */
  connect(address: Address, timeoutMs: number): Promise<Socket>;
}

export interface Listener {
  readonly address: Address;
  /** Stops accepting. Open connections stay open. */
  close(): Promise<void>;
}

export interface SocketHandler {
  data(chunk: Buffer): void;
  /** The system has taken all written bytes. */
  drained(): void;
  /** Called exactly once, as the last call. */
  closed(error: Error | undefined): void;
}

/** TCP keep-alive: the first probe is sent after this much silence. */
export const KEEP_ALIVE_IDLE_MS = 15_000;
/** If no probe is answered by then, the connection fails: `closed` with `ETIMEDOUT`. */
export const KEEP_ALIVE_TIMEOUT_MS = KEEP_ALIVE_IDLE_MS + 10_000;

/** A connected byte stream with TCP keep-alive. Nothing is read until a handler is set. */
export interface Socket {
  readonly remote: string;
  /** Bytes written here that the system has not taken yet. */
  readonly bufferedBytes: number;
  handle(handler: SocketHandler): void;
  write(chunks: readonly Uint8Array[]): void;
  pause(): void;
  resume(): void;
  /** Sends the buffered bytes, then closes. */
  end(): void;
  /** Closes at once; buffered bytes are lost. */
  destroy(error?: Error): void;
}

/** Identifies a process across restarts and reused pids, so that a live lock holder can be told from a dead one. */
export interface ProcessIdentity {
  readonly pid: number;
  /** Empty where the system does not say. */
  readonly bootId: string;
  /** In the system's own unit; empty where the system does not say. */
  readonly startTime: string;
  /** The namespace in which `pid` counts; empty where the system does not say. */
  readonly pidNamespace: string;
}

export interface Host {
  self(): ProcessIdentity;
  /** True also for a process of another pid namespace of this boot, which cannot be checked. */
  isAlive(process: ProcessIdentity): boolean;
  /** How many files and sockets this process may have open at a time, if the system says. */
  maxDescriptors(): number;
}

/** The usual limit of most systems. Used where the system does not say. */
export const USUAL_MAX_DESCRIPTORS = 1024;

/** Worker threads of this process. They share memory only through SharedArrayBuffers. */
export interface Threads {
  /** The file system that threads use. An env with another file system must not give its files to a thread. */
  readonly fs: FileSystem;
  /** Starts a module as a thread. It does not keep the process alive unless `hold` is called. */
  start(entry: URL, data: unknown, handler: ThreadHandler): Thread;
}

export interface ThreadHandler {
  message(message: unknown): void;
  /** Called once, as the last call: the thread failed to start, threw, or ended. */
  ended(error: Error): void;
}

export interface Thread {
  /** Copies the message; SharedArrayBuffers are shared. */
  post(message: unknown): void;
  /** Keeps the process alive until `release`. */
  hold(): void;
  release(): void;
  terminate(): Promise<void>;
}

/** Where rooms report events. The server passes a structured logger, tests a recorder. */
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

/** Parses `host:port` or `[v6]:port`. A host has at most 255 characters. Throws a plain Error that names the text. */
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
