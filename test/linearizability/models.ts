/** Sequential objects that histories are held against. */
import type { Model } from '../../src/sim/rules/linearizability.js';

export type RegisterInput =
  | { readonly type: 'read' }
  | { readonly type: 'write'; readonly value: string }
  | { readonly type: 'cas'; readonly from: string; readonly to: string };

/** Of a read: the value, null if unset. Of a cas: whether it was done. Of a write: nothing to check. */
export type RegisterOutput = string | null | boolean;

/** A register with compare-and-set that starts unset. */
export const registerModel: Model<string | null, RegisterInput, RegisterOutput> = {
  initial: null,
  step(state, input, output) {
    switch (input.type) {
      case 'read':
        return output === undefined || output === state ? { state } : undefined;
      case 'write':
        return { state: input.value };
      case 'cas': {
        const matches = state === input.from;
        if (output !== undefined && output !== matches) return undefined;
        return { state: matches ? input.to : state };
      }
    }
  },
  fingerprint: (state) => (state === null ? 'unset' : `=${state}`),
};

export type TextInput =
  | { readonly type: 'get' }
  | { readonly type: 'put'; readonly value: string }
  | { readonly type: 'append'; readonly value: string };

/** A string under a key, empty at first: get, put, append. */
export const textModel: Model<string, TextInput, string> = {
  initial: '',
  step(state, input, output) {
    switch (input.type) {
      case 'get':
        return output === undefined || output === state ? { state } : undefined;
      case 'put':
        return { state: input.value };
      case 'append':
        return { state: state + input.value };
    }
  },
  fingerprint: (state) => state,
};
