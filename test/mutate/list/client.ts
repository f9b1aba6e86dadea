import type { Mutation } from '../mutation.js';

export const CLIENT_MUTATIONS: readonly Mutation[] = [
];
