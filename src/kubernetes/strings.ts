/** Keeps the strings of many pods small: the same text is kept once, and none keeps the reply that it was cut from. */

/** Dropped whole when it is full: what is in use then is kept by those who use it. */
const MAX_SHARED = 4096;
/** Longer ones are seldom the same. */
const MAX_LENGTH = 512;

let known = new Map<string, string>();
let knownLists = new Map<string, readonly string[]>();

/** The same text as one string. */
export function shared(text: string): string {
  if (text === '' || text.length > MAX_LENGTH) return text;
  const before = known.get(text);
  if (before !== undefined) return before;
  if (known.size >= MAX_SHARED) known = new Map();
  const own = flat(text);
  known.set(own, own);
  return own;
}

const NOTHING: readonly string[] = Object.freeze([]);

/** The same list as one list of shared texts: the pods of one workload have the same probes. */
export function sharedList(texts: readonly string[]): readonly string[] {
  if (texts.length === 0) return NOTHING;
  const key = JSON.stringify(texts);
  if (key.length > MAX_LENGTH) return texts.map(flat);
  const before = knownLists.get(key);
  if (before !== undefined) return before;
  if (knownLists.size >= MAX_SHARED) knownLists = new Map();
  const own = Object.freeze(texts.map(shared));
  knownLists.set(flat(key), own);
  return own;
}

/** A copy: a part of 13 characters or more would keep the whole text that it was cut from (V8's sliced strings). */
export function flat(text: string): string {
  return text.length < 13 ? text : Buffer.from(text).toString();
}
