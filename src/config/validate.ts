/** Checks YAML nodes against the schema. What comes out has only the keys that were given, each of its type. */
import { isAlias, isMap, isScalar, isSeq, type Node } from 'yaml';
import type { ConfigDocument } from './document.ts';
import { type Field, type Given, type NumberField, SAMPLE_MAX, SAMPLE_MIN, type SectionField } from './field.ts';
import { nearest } from './nearest.ts';
import { harmless, type Problem, quoted, WHOLE_FILE } from './problem.ts';
import { API_VERSION, SETTINGS_ROOT } from './schema.ts';

/** Nodes looked at, counted anew under every alias: what a bomb of aliases may cost. */
const NODES_MAX = 20_000;
const UNITS: Readonly<Record<string, number>> = { '': 1, Ki: 1 << 10, Mi: 1 << 20, Gi: 1 << 30 };

/** Where each given key stands, for checks that look at several. */
export type KeyPlaces = ReadonlyMap<string, number>;

export interface Validated {
  readonly given: Given;
  readonly places: KeyPlaces;
  readonly problems: readonly Problem[];
}

export function validate(document: ConfigDocument, root: SectionField): Validated {
  const walk = new Walk(document);
  const given = walk.section(document.root, root, '');
  return { given, places: walk.places, problems: walk.problems };
}

const WRONG = Symbol('wrong');

class Walk {
  readonly problems: Problem[] = [];
  readonly places = new Map<string, number>();
  readonly #document: ConfigDocument;
  #nodes = 0;

  constructor(document: ConfigDocument) {
    this.#document = document;
  }

  section(node: Node, field: SectionField, path: string): Given {
    const given: Record<string, unknown> = {};
    const target = this.#target(node, path);
    if (target === undefined) return given;
    if (!isMap(target)) {
      const example = Object.keys(field.keys)[0] ?? 'key';
      this.#wrong(node, path, `is ${kindOf(target)}, not keys with values`, `write keys such as ${example}: below it`);
      return given;
    }
    for (const { key, value } of target.items) {
      const name = isScalar(key) ? String(key.value) : '';
      const at = path === '' ? name : `${path}.${name}`;
      const start = (key as Node | null)?.range?.[0] ?? 0;
      const child = Object.hasOwn(field.keys, name) ? field.keys[name] : undefined;
      if (child === undefined) {
        this.#unknown(start, at, name, field, path);
        continue;
      }
      this.places.set(at, start);
      const absent = value === null || (isScalar(value) && value.value === null);
      if (absent) {
        // A section whose keys are all commented out says nothing.
        if (child.type === 'section' || child.type === 'part') continue;
        this.#at(start, at, 'has no value', 'give it one, or remove the key');
        continue;
      }
      const checked = this.value(value as Node, child, at);
      if (checked !== WRONG) given[name] = checked;
      if (this.#nodes > NODES_MAX) break;
    }
    for (const name of field.required ?? []) {
      if (target.items.some(({ key }) => isScalar(key) && key.value === name)) continue;
      const remedy = name === 'apiVersion' ? `add apiVersion: ${API_VERSION}` : `add ${name}:`;
      this.#wrong(node, path === '' ? name : `${path}.${name}`, 'is missing', remedy);
    }
    return given;
  }

  value(node: Node, field: Field, path: string): unknown {
    const target = this.#target(node, path);
    if (target === undefined) return WRONG;
    switch (field.type) {
      case 'section':
        return this.section(target, field, path);
      case 'part':
        return this.section(target, SETTINGS_ROOT, path);
      case 'list':
        return this.#list(target, field, path);
      case 'names':
        return this.#names(target, field.max, path);
      case 'action':
        return this.#action(target, path);
      default:
        return this.#scalar(target, field, path);
    }
  }

  #scalar(node: Node, field: Exclude<Field, { type: 'section' | 'part' | 'list' | 'names' | 'action' }>, path: string) {
    const value = isScalar(node) ? node.value : undefined;
    switch (field.type) {
      case 'choice':
        return this.#choice(node, value, field.words, path);
      case 'switch':
        if (typeof value === 'boolean') return value;
        if (value === 'on' || value === 'off') return value === 'on';
        return this.#wrong(node, path, `${shown(node)} is not true or false`, 'write true or false');
      case 'text':
        if (typeof value === 'string' && field.pattern.test(value)) return value;
        return this.#wrong(node, path, `${shown(node)} is not ${field.shape}`, `write ${field.shape}${quotes(value)}`);
      default:
        return this.#number(node, value, field, path);
    }
  }

  #choice(node: Node, value: unknown, words: readonly string[], path: string): unknown {
    // YAML 1.1, which Helm reads values by, takes on and off for booleans.
    const word = value === false ? 'off' : value === true ? 'on' : value;
    if (typeof word === 'string' && words.includes(word)) return word;
    const meant = typeof word === 'string' ? nearest(word, words) : undefined;
    const remedy = `write ${words.length === 1 ? words[0] : `one of ${words.join(', ')}`}`;
    return this.#wrong(node, path, `${shown(node)} is not known${ask(meant)}`, remedy);
  }

  #number(node: Node, value: unknown, { type, min, max }: NumberField, path: string): unknown {
    let number = typeof value === 'number' ? value : Number.NaN;
    if (type === 'bytes' && typeof value === 'string') {
      const match = /^(\d{1,12})(Ki|Mi|Gi)$/.exec(value);
      if (match) number = Number(match[1]) * (UNITS[match[2] ?? ''] ?? 1);
    }
    const whole = type === 'number' || Number.isInteger(number);
    if (whole && number >= min && number <= max) return number;
    const what =
      type === 'number' ? 'a number' : type === 'bytes' ? 'a number of bytes (also 64Ki, 1Mi)' : 'a whole number';
    return this.#wrong(
      node,
      path,
      `${shown(node)} is not ${what} from ${min} to ${max}`,
      `write ${what} in that range`,
    );
  }

  #list(node: Node, field: Extract<Field, { type: 'list' }>, path: string): unknown {
    if (!isSeq(node)) {
      if (field.orOne && isScalar(node)) {
        const one = this.value(node, field.of, path);
        return one === WRONG ? WRONG : [one];
      }
      return this.#wrong(node, path, `${shown(node)} is not a list`, 'write one item a line, each after "- "');
    }
    if (node.items.length > field.max) {
      return this.#wrong(node, path, `has ${node.items.length} items`, `keep ${field.max} of them at most`);
    }
    const values: unknown[] = [];
    for (const [index, item] of node.items.entries()) {
      const at = `${path}[${index}]`;
      if (item === null || (isScalar(item) && item.value === null)) {
        this.#wrong(node, at, 'is empty', 'give it a value, or remove the dash');
        continue;
      }
      this.places.set(at, (item as Node).range?.[0] ?? 0);
      const value = this.value(item as Node, field.of, at);
      if (value !== WRONG) values.push(value);
      if (this.#nodes > NODES_MAX) break;
    }
    return values;
  }

  #names(node: Node, max: number, path: string): unknown {
    if (!isMap(node)) {
      return this.#wrong(node, path, `${shown(node)} is not names with values`, 'write app: web below it');
    }
    if (node.items.length > max) return this.#wrong(node, path, 'has too many names', `keep ${max} at most`);
    const names: Record<string, string> = {};
    for (const { key, value } of node.items) {
      const name = isScalar(key) ? String(key.value) : '';
      const target = value === null ? undefined : this.#target(value as Node, `${path}.${name}`);
      const text = isScalar(target) ? target.value : undefined;
      if (typeof text === 'string' && name !== '') names[name] = text;
      else {
        const start = (key as Node | null)?.range?.[0] ?? 0;
        this.#at(start, `${path}.${name}`, 'is not a text', `write it in quotes: ${name}: "..."`);
      }
    }
    return names;
  }

  #action(node: Node, path: string): unknown {
    if (isScalar(node)) {
      if (node.value === 'off' || node.value === false) return 'off';
      if (node.value === 'trace' || node.value === 'on' || node.value === true) return 'trace';
    }
    const items = isMap(node) ? node.items : [];
    const [only] = items;
    if (items.length === 1 && isScalar(only?.key) && only.key.value === 'sample' && isScalar(only.value)) {
      const field = { type: 'integer', min: SAMPLE_MIN, max: SAMPLE_MAX, about: '' } as const;
      const sample = this.#number(only.value, only.value.value, field, `${path}.sample`);
      return sample === WRONG ? WRONG : { sample };
    }
    return this.#wrong(node, path, `${shown(node)} is no action`, 'write trace, off or {sample: 10}');
  }

  /** Follows aliases; undefined: nothing to look at, and a problem was noted. */
  #target(node: Node, path: string): Node | undefined {
    if (++this.#nodes > NODES_MAX) {
      if (this.#nodes === NODES_MAX + 1) {
        this.#wrong(node, path, `leads to more than ${NODES_MAX} values`, 'write values instead of aliases');
      }
      return undefined;
    }
    if (!isAlias(node)) return node;
    this.#wrong(node, path, `is an alias (*${quoted(node.source)})`, 'write the value itself: aliases are not taken');
    return undefined;
  }

  #unknown(offset: number, at: string, name: string, field: SectionField, path: string): void {
    const known = Object.keys(field.keys);
    const meant = nearest(name, known);
    const elsewhere = meant === undefined ? elsewhereOf(name) : undefined;
    const remedy =
      meant !== undefined
        ? `did you mean ${meant}?`
        : elsewhere !== undefined
          ? `did you mean ${elsewhere}?`
          : `remove it; known ${path === '' ? 'here' : `in ${path}`}: ${known.join(', ')}`;
    this.#at(offset, at === '' ? WHOLE_FILE : at.slice(0, 200), `unknown key ${quoted(name)}`, remedy);
  }

  #wrong(node: Node, path: string, message: string, remedy: string): typeof WRONG {
    this.#at(node.range?.[0] ?? 0, path === '' ? WHOLE_FILE : path, message, remedy);
    return WRONG;
  }

  #at(offset: number, key: string, message: string, remedy: string): void {
    this.problems.push({ key: harmless(key), ...this.#document.placeOf(offset), message, remedy });
  }
}

/** A key that stands at the wrong level: its full path. */
function elsewhereOf(name: string): string | undefined {
  const search = (field: SectionField, path: string): string | undefined => {
    for (const [key, child] of Object.entries(field.keys)) {
      const at = path === '' ? key : `${path}.${key}`;
      if (key === name) return at;
      const below = child.type === 'section' ? search(child, at) : undefined;
      if (below !== undefined) return below;
    }
    return undefined;
  };
  return search(SETTINGS_ROOT, '');
}

function kindOf(node: Node): string {
  return isSeq(node) ? 'a list' : isMap(node) ? 'keys with values' : quoted(isScalar(node) ? node.value : '');
}

function shown(node: Node): string {
  return kindOf(node);
}

function ask(meant: string | undefined): string {
  return meant === undefined ? '' : ` (did you mean ${meant}?)`;
}

function quotes(value: unknown): string {
  return typeof value === 'number' || typeof value === 'boolean' ? ', in quotes' : '';
}
