/** What may be asked on the agent's local socket: one line of JSON, then the answer comes until the socket is closed. */

/** Whose events are shown; a list that is left out or empty asks for nothing. Patterns: * stands for any characters. */
export interface TailFilter {
  readonly namespaces: readonly string[];
  readonly pods: readonly string[];
  /** Kinds and families. */
  readonly kinds: readonly string[];
  /** Patterns of a process's name, or of its executable's path. */
  readonly processes: readonly string[];
  /** Events of the host: alone, or beside those of the pods asked for. */
  readonly host: boolean;
}

export type LocalRequest =
  | ({ readonly ask: 'tail' } & TailFilter)
  | { readonly ask: 'ledger' }
  | { readonly ask: 'status' };

export const ASKS = ['tail', 'ledger', 'status'] as const;

/** A request that cannot be answered; the message is for the one who asked. */
export class LocalRequestError extends Error {
  override name = 'LocalRequestError';
}

export const REQUEST_BYTES_MAX = 16_384;
const LIST_MAX = 64;
const WORD_CHARS_MAX = 4096;
const LISTS = ['namespaces', 'pods', 'kinds', 'processes'] as const;

function words(request: Readonly<Record<string, unknown>>, name: string): string[] {
  const value = request[name];
  if (value === undefined) return [];
  if (!Array.isArray(value) || value.length > LIST_MAX) {
    throw new LocalRequestError(`${name}: not a list of at most ${LIST_MAX} texts`);
  }
  return value.map((word: unknown) => {
    if (typeof word === 'string' && word !== '' && word.length <= WORD_CHARS_MAX) return word;
    throw new LocalRequestError(`${name}: not a text of 1 to ${WORD_CHARS_MAX} characters`);
  });
}

/** Reads a request line. Throws LocalRequestError; keys that are not known are refused, so that none is ignored. */
export function parseLocalRequest(line: string): LocalRequest {
  let request: unknown;
  try {
    request = JSON.parse(line);
  } catch {
    throw new LocalRequestError('not a line of JSON');
  }
  if (typeof request !== 'object' || request === null || Array.isArray(request)) {
    throw new LocalRequestError('not an object');
  }
  const fields = request as Readonly<Record<string, unknown>>;
  const ask = ASKS.find((name) => name === fields['ask']);
  if (ask === undefined) throw new LocalRequestError(`ask: not one of ${ASKS.join(', ')}`);
  const known: readonly string[] = ask === 'tail' ? ['ask', 'host', ...LISTS] : ['ask'];
  for (const name of Object.keys(fields)) {
    if (!known.includes(name)) throw new LocalRequestError(`unknown key: ${JSON.stringify(name.slice(0, 64))}`);
  }
  if (ask !== 'tail') return { ask };
  const host = fields['host'] ?? false;
  if (typeof host !== 'boolean') throw new LocalRequestError('host: not true or false');
  const [namespaces = [], pods = [], kinds = [], processes = []] = LISTS.map((name) => words(fields, name));
  return { ask, host, namespaces, pods, kinds, processes };
}
