/** Messages, entries and hosts as a line each. */
import type { Message } from '../../src/raft/types.js';
import type { Host } from './host.js';

export function describeMessage(message: Message): string {
  const { type, ...fields } = message;
  const parts = Object.entries(fields).map(([name, value]) => {
    if (name !== 'entries') return `${name} ${JSON.stringify(value)}`;
    const entries = value as unknown as { term: number; kind: string; body: Uint8Array }[];
    return `[${entries.map(describeEntry).join(' ')}]`;
  });
  return `${type} ${parts.join(' ')}`;
}

function describeEntry({ term, kind, body }: { term: number; kind: string; body: Uint8Array }): string {
  return `${kind}${kind === 'command' ? `"${Buffer.from(body)}"` : ''}/${term}`;
}

export function showHost(host: Host): string {
  const { core } = host;
  const { voters, outgoing } = core.configuration;
  const late = `${host.writing.length > 0 ? `, writes ${host.writing.length}` : ''}${host.applying ? ', applies' : ''}`;
  return (
    `n${host.id} ${core.role} term ${core.term} last ${core.lastIndex} stable ${core.stableIndex} commit ${core.commitIndex}` +
    ` applied ${core.appliedIndex} voters ${voters}${outgoing.length > 0 ? `/${outgoing}` : ''}${late}` +
    `  log ${host.log.map(describeEntry).join(' ')}`
  );
}
