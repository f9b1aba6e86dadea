import type { Mutation } from '../mutation.js';

export const KV_MUTATIONS: readonly Mutation[] = [
];
