/** Hosts as node.json, or the system, names them. */

/** Of `host:port`, as a socket names the other end. */
export function hostOf(remote: string): string {
  return remote.slice(0, Math.max(0, remote.lastIndexOf(':')));
}

/** Whether this machine alone reaches it. No names but localhost are looked up. */
export function isLoopback(host: string): boolean {
  const plain = host.toLowerCase().replace(/^::ffff:/, '');
  return plain === 'localhost' || plain === '::1' || /^127\.\d{1,3}\.\d{1,3}\.\d{1,3}$/.test(plain);
}
