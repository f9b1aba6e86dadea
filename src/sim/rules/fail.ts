/** The rules a run is held to; the first one that is broken ends it. */
export interface Broken {
  readonly rule: string;
  readonly detail: string;
}

export type Fail = (rule: string, detail: string) => void;
