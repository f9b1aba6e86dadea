/** Host names as in node.json and as sockets report them. */

/** The host in `host:port`, the form in which a socket reports its remote end. */
export function hostOf(remote: string): string {
  return remote.slice(0, Math.max(0, remote.lastIndexOf(':')));
}

/** Whether the host is this machine's loopback. The only name that counts is localhost; nothing is looked up. */
export function isLoopback(host: string): boolean {
  const plain = host.toLowerCase().replace(/^::ffff:/, '');
  return plain === 'localhost' || plain === '::1' || /^127\.\d{1,3}\.\d{1,3}\.\d{1,3}$/.test(plain);
}
