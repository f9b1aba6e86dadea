import type { Mutation } from '../mutation.js';

export const REPLICA_MUTATIONS: readonly Mutation[] = [
];
