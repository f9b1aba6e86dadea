import type { Mutation } from '../mutation.js';

export const RAFT_LOG_MUTATIONS: readonly Mutation[] = [
];
