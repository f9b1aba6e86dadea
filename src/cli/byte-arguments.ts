/** Keys and values as arguments: text, or any bytes as base64. */
import type { Command } from 'commander';
import { decodeBase64 } from './base64.js';
import { UsageError } from './exit-codes.js';

export interface Base64Options {
  readonly keyBase64?: true;
  readonly valueBase64?: true;
}

export function withKeyOption(command: Command, about = 'keys are given, and shown, as base64'): Command {
  return command.option('--key-base64', about);
}

export function withValueOption(command: Command, about: string): Command {
  return command.option('--value-base64', about);
}

export function givenKey(text: string, { keyBase64 }: Base64Options): Buffer {
  return given(text, keyBase64, 'the key');
}

export function givenValue(text: string, { valueBase64 }: Base64Options): Buffer {
  return given(text, valueBase64, 'the value');
}

function given(text: string, isBase64: boolean | undefined, what: string): Buffer {
  if (!isBase64) return Buffer.from(text);
  try {
    return decodeBase64(text);
  } catch {
    throw new UsageError(`${what} "${text}" is not base64`);
  }
}

/**
 * Node.js replaces bytes that are not UTF-8 by U+FFFD, so two different arguments may become the same. Throws
 * `UsageError` for an argument that may have been changed like that.
 */
export function checkArguments(given: readonly string[]): void {
  const changed = given.find((argument) => argument.includes('\uFFFD'));
  if (changed === undefined) return;
  throw new UsageError(
    `the argument "${changed}" is not UTF-8, or contains the replacement character U+FFFD: use --key-base64 or --value-base64 for such bytes`,
  );
}
