/** A broken rule. The first one ends the run. */
export interface Broken {
  readonly rule: string;
  readonly detail: string;
}

export type Fail = (rule: string, detail: string) => void;
