/**
 * What the map says, as far as this node has applied it: the records of meta, decoded. Each has the version of its last
 * change: who changes it names that version.
 */
import type { ClusterNode, Descriptor } from '../balance/cluster-map.js';
import { TabletMap } from '../placement/tablet-map.js';
import { BALANCE_KEY, type ClusterRecord, decodeRecord, type Intent, type MetaRecord } from './records.js';

export class MetaState {
  readonly #versions = new Map<string, number>();
  readonly #nodes = new Map<number, ClusterNode>();
  readonly #tablets = new Map<number, Descriptor>();
  readonly #intents = new Map<number, Intent>();
  #cluster: ClusterRecord | undefined;
  #nextId = 0;
  #isBalanced = true;
  #map: TabletMap | undefined;
  readonly #owners = new Map<number, { readonly tablet: number; readonly node: number }>();
  #unreadable = 0;

  /** Undefined: the first leader has not written the map yet. */
  get cluster(): ClusterRecord | undefined {
    return this.#cluster;
  }

  get nodes(): ReadonlyMap<number, ClusterNode> {
    return this.#nodes;
  }

  get tablets(): ReadonlyMap<number, Descriptor> {
    return this.#tablets;
  }

  /** By tablet. */
  get intents(): ReadonlyMap<number, Intent> {
    return this.#intents;
  }

  /** Replicas and leaders are moved without being asked. */
  get isBalanced(): boolean {
    return this.#isBalanced;
  }

  get nextId(): number {
    return this.#nextId;
  }

  /** Records that this version cannot read. */
  get unreadable(): number {
    return this.#unreadable;
  }

  /** Which tablet owns a key. Undefined before the map is written. */
  get map(): TabletMap | undefined {
    if (this.#cluster) this.#map ??= new TabletMap(this.#cluster.by, [...this.#tablets.values()]);
    return this.#map;
  }

  /** Whose a replica id is, or was. */
  ownerOf(replicaId: number): { readonly tablet: number; readonly node: number } | undefined {
    return this.#owners.get(replicaId);
  }

  /** The tablets that have a replica on a node, or are to get one. */
  tabletsOn(node: number): number[] {
    const found = new Set<number>();
    for (const { id, replicas } of this.#tablets.values())
      if (replicas.some((each) => each.node === node)) found.add(id);
    for (const [tablet, intent] of this.#intents)
      if (intent.type === 'move' && intent.add?.node === node) found.add(tablet);
    return [...found].sort((a, b) => a - b);
  }

  /** Of the last change of a record; 0: there is none. */
  versionOf(key: string): number {
    return this.#versions.get(key) ?? 0;
  }

  /** A record was written, or (`text` undefined) deleted. */
  set(key: string, text: string | undefined, version: number): void {
    if (text === undefined) this.#versions.delete(key);
    else this.#versions.set(key, version);
    const record = text === undefined ? undefined : decodeRecord(key, text);
    if (record) this.#keep(record);
    else if (text === undefined) this.#drop(key);
    else this.#unreadable++;
  }

  clear(): void {
    for (const kept of [this.#versions, this.#nodes, this.#tablets, this.#intents, this.#owners])
      kept.clear();
    this.#cluster = undefined;
    this.#nextId = 0;
    this.#isBalanced = true;
    this.#map = undefined;
  }

  #keep(record: MetaRecord): void {
    switch (record.kind) {
      case 'cluster':
        this.#cluster = record.value;
        break;
      case 'next-id':
        this.#nextId = record.value;
        break;
      case 'balance':
        this.#isBalanced = record.value.isOn;
        break;
      case 'node':
        this.#nodes.set(record.id, record.value);
        break;
      case 'tablet':
        this.#tablets.set(record.id, record.value);
        for (const { replicaId, node } of record.value.replicas)
          this.#owners.set(replicaId, { tablet: record.id, node });
        this.#map = undefined;
        break;
      case 'intent':
        this.#intents.set(record.id, record.value);
        for (const { replicaId, ...owner } of addedBy(record.id, record.value))
          this.#owners.set(replicaId, owner);
        break;
    }
  }

  #drop(key: string): void {
    const [kind, number] = key.split('/');
    const id = Number(number);
    if (key === BALANCE_KEY) this.#isBalanced = true;
    if (kind === 'node') this.#nodes.delete(id);
    if (kind === 'intent') this.#intents.delete(id);
    if (kind === 'tablet' && this.#tablets.delete(id)) this.#map = undefined;
  }
}

function addedBy(tablet: number, intent: Intent) {
  if (intent.type === 'move') return intent.add ? [{ ...intent.add, tablet }] : [];
  const children = intent.type === 'split' ? intent.children : [intent.child];
  return children.flatMap(({ id, replicas }) =>
    replicas.map(({ replicaId, node }) => ({ replicaId, node, tablet: id })),
  );
}
