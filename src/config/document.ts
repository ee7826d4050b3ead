/** The text of a configuration as YAML nodes with their places. Bounded: no size, nesting or alias can cost much. */
import { isMap, isPair, isScalar, isSeq, LineCounter, type Node, parseAllDocuments, type YAMLError } from 'yaml';
import { harmless, type Problem, quoted, WHOLE_FILE, wholeFile } from './problem.ts';
import { API_VERSION } from './schema.ts';

export const CONFIG_BYTES_MAX = 256 * 1024;
/** Brackets and dashes within each other that a parser may be given; the deepest key of the schema needs eight. */
const FLOW_DEPTH_MAX = 64;
const START = `begin with apiVersion: ${API_VERSION}`;

export interface Place {
  readonly line: number;
  readonly column: number;
}

export interface ConfigDocument {
  readonly root: Node;
  /** Where a node or an offset stands. */
  readonly placeOf: (offset: number) => Place;
}

export type Parsed = { readonly document: ConfigDocument } | { readonly problems: readonly Problem[] };

const REMEDIES: Readonly<Record<string, string>> = {
  TAB_AS_INDENT: 'indent with spaces',
  DUPLICATE_KEY: 'keep one of the two',
  BAD_INDENT: 'align it with its neighbours',
  MULTIPLE_DOCS: 'put everything into one document, without ---',
  BAD_ALIAS: 'write the value itself instead of an alias',
  TAG_RESOLVE_FAILED: 'leave out the tag',
};

/** The first line only: the parser's texts go on with an excerpt of the file. */
function parserText({ message }: YAMLError): string {
  return harmless(message.split('\n')[0] ?? '').replace(/[.:]$/, '');
}

/** The dotted path of the last key that begins at or before `offset`. */
function keyAt(node: unknown, offset: number, path: string): string {
  let found = path;
  if (isMap(node)) {
    for (const { key, value } of node.items) {
      if (!isScalar(key) || (key.range?.[0] ?? Number.POSITIVE_INFINITY) > offset) continue;
      found = keyAt(value, offset, path === '' ? String(key.value) : `${path}.${String(key.value)}`);
    }
  } else if (isSeq(node)) {
    for (const [index, item] of node.items.entries()) {
      const start = isPair(item) ? undefined : (item as Node | null)?.range?.[0];
      if (start !== undefined && start <= offset) found = keyAt(item, offset, `${path}[${index}]`);
    }
  }
  return found;
}

function deepFlow(text: string): number {
  let depth = 0;
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i);
    if (c === 0x5b || c === 0x7b) depth++;
    else if ((c === 0x5d || c === 0x7d) && depth > 0) depth--;
    if (depth > FLOW_DEPTH_MAX) return i;
  }
  return -1;
}

/** A line of `- - - -` or `a: b:` nests once for each. */
const DEEP_BLOCK = new RegExp(`^[ ]*(?:[-?][ ]+){${FLOW_DEPTH_MAX},}`, 'm');

function placeIn(text: string, offset: number): Place {
  const before = text.slice(0, offset);
  return { line: before.split('\n').length, column: offset - before.lastIndexOf('\n') };
}

function decode(bytes: Uint8Array): { text: string } | { problem: Problem } {
  if (bytes.length > CONFIG_BYTES_MAX) {
    const message = `has ${bytes.length} bytes, more than ${CONFIG_BYTES_MAX}`;
    return { problem: wholeFile(message, 'is this the right file? shorten it') };
  }
  const zero = bytes.indexOf(0);
  let text = '';
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    return { problem: wholeFile('is not UTF-8 text', 'is this the right file? save it as UTF-8') };
  }
  if (zero >= 0) {
    const place = placeIn(text, text.indexOf('\0'));
    const message = 'has a NUL byte: it is not a text file';
    return { problem: { key: WHOLE_FILE, ...place, message, remedy: 'is this the right file?' } };
  }
  return { text };
}

/** Parses the bytes of a configuration file. */
export function parseDocument(bytes: Uint8Array): Parsed {
  const decoded = decode(bytes);
  if ('problem' in decoded) return { problems: [decoded.problem] };
  const { text } = decoded;
  const deep = Math.max(deepFlow(text), DEEP_BLOCK.exec(text)?.index ?? -1);
  if (deep >= 0) {
    const message = `is nested deeper than ${FLOW_DEPTH_MAX} levels`;
    return { problems: [{ key: WHOLE_FILE, ...placeIn(text, deep), message, remedy: 'remove the brackets' }] };
  }
  const lines = new LineCounter();
  const placeOf = (offset: number): Place => {
    const { line, col } = lines.linePos(offset);
    return { line, column: col };
  };
  let documents: ReturnType<typeof parseAllDocuments>;
  try {
    documents = parseAllDocuments(text, { lineCounter: lines, prettyErrors: false, merge: false });
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    return { problems: [wholeFile(`cannot be parsed (${quoted(reason)})`, 'is this the right file?')] };
  }
  const [first, second] = documents;
  if (first === undefined || first.contents === null) {
    return { problems: [wholeFile('is empty', START)] };
  }
  const root: Node = first.contents;
  const errors = [...first.errors, ...first.warnings];
  if (errors.length > 0) {
    return {
      problems: errors.map((error) => ({
        key: harmless(keyAt(root, error.pos[0], '')) || WHOLE_FILE,
        ...placeOf(error.pos[0]),
        message: parserText(error),
        remedy: REMEDIES[error.code] ?? 'look for a missing quote, colon or space here and in the line before',
      })),
    };
  }
  if (second !== undefined) {
    const place = placeOf(second.range?.[0] ?? 0);
    const remedy = 'put everything into one document, without ---';
    return { problems: [{ key: WHOLE_FILE, ...place, message: 'has more than one document', remedy }] };
  }
  return { document: { root, placeOf } };
}
