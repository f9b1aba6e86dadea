import type { Mutation } from '../mutation.js';

export const RECORD_MUTATIONS: readonly Mutation[] = [
];
