import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { KubeObject } from './cluster.ts';

const PACKAGES = join(import.meta.dirname, '../../node_modules');

/** A declaration file that was read: what it declares, and where the names that it uses come from. */
interface Declarations {
  readonly tokens: readonly string[];
  readonly imports: ReadonlyMap<string, string>;
}

/**
 * The schema of a Kubernetes type as a package of @kubernetes-models declares it: these are made from the Go types of the
 * API's own authors, with every field. `module` is `package/folder/Type`, and holds the interface `IType`. Structural, as
 * a CustomResourceDefinition wants it: no references, every field with a type.
 */
export function declaredSchema(module: string): KubeObject {
  return schemaOf(join(PACKAGES, `${module}.d.ts`), []);
}

function schemaOf(file: string, within: readonly string[]): KubeObject {
  if (within.includes(file)) return { type: 'object', 'x-kubernetes-preserve-unknown-fields': true };
  const declarations = read(file);
  const name = `I${/([^/]+)\.d\.ts$/.exec(file)?.[1]}`;
  const { tokens } = declarations;
  const start = tokens.findIndex((token, i) => token === name && /^(interface|type)$/.test(tokens[i - 1] ?? ''));
  if (start < 0) throw new Error(`${file} declares no ${name}`);
  const parser = new Parser(declarations, file, [...within, file], start + 1);
  return tokens[start - 1] === 'type' ? parser.alias() : parser.interface();
}

function read(file: string): Declarations {
  const text = readFileSync(file, 'utf8').replace(/\/\*[\s\S]*?\*\//g, '');
  const imports = new Map<string, string>();
  for (const [, names = '', from = ''] of text.matchAll(/^import \{([^}]*)\} from "([^"]+)";$/gm)) {
    const target = join(from.startsWith('.') ? dirname(file) : PACKAGES, from);
    for (const name of names.split(',')) imports.set(name.trim(), `${target.replace(/\.js$/, '')}.d.ts`);
  }
  return { tokens: text.match(/"[^"]*"|[\w$]+|[^\s\w]/g) ?? [], imports };
}

/** Reads the few forms of types that these packages use. Throws on any other. */
class Parser {
  readonly #declarations: Declarations;
  readonly #file: string;
  readonly #within: readonly string[];
  #at: number;

  constructor(declarations: Declarations, file: string, within: readonly string[], at: number) {
    this.#declarations = declarations;
    this.#file = file;
    this.#within = within;
    this.#at = at;
  }

  #peek(): string {
    return this.#declarations.tokens[this.#at] ?? '';
  }

  #take(expected?: string): string {
    const token = this.#peek();
    if (expected !== undefined && token !== expected) throw new Error(`${this.#file}: ${token} instead of ${expected}`);
    this.#at++;
    return token;
  }

  #takeIf(token: string): boolean {
    if (this.#peek() !== token) return false;
    this.#at++;
    return true;
  }

  alias(): KubeObject {
    this.#take('=');
    return this.#union();
  }

  interface(): KubeObject {
    const bases: KubeObject[] = [];
    if (this.#takeIf('extends')) {
      do {
        const name = this.#take();
        // apiVersion and kind: every object has them
        if (name !== 'TypeMeta') bases.push(this.#named(name));
      } while (this.#takeIf(','));
    }
    const own = this.#fields();
    return {
      type: 'object',
      properties: Object.assign({}, ...[...bases, own].map(({ properties }) => properties)),
      required: [...bases, own].flatMap(({ required }) => required ?? []),
    };
  }

  #fields(): KubeObject {
    const properties: KubeObject = {};
    const required: string[] = [];
    this.#take('{');
    while (!this.#takeIf('}')) {
      if (this.#takeIf('[')) {
        while (this.#take() !== ']');
        this.#take(':');
        const values = this.#union();
        this.#take(';');
        this.#take('}');
        return { type: 'object', additionalProperties: values };
      }
      const name = this.#take().slice(1, -1);
      if (!this.#takeIf('?')) required.push(name);
      this.#take(':');
      properties[name] = this.#union();
      this.#take(';');
    }
    return { type: 'object', properties, required };
  }

  #union(): KubeObject {
    const members = [this.#type()];
    while (this.#takeIf('|')) members.push(this.#type());
    const [first] = members;
    if (members.length === 1) return first;
    if (members.every((member) => member.enum !== undefined)) {
      return { type: 'string', enum: members.flatMap((member) => member.enum) };
    }
    const types = members.map(({ type }) => type).sort();
    if (types.join() === 'number,string') return { 'x-kubernetes-int-or-string': true };
    throw new Error(`${this.#file}: a union of ${types}`);
  }

  #type(): KubeObject {
    if (this.#peek() === '{') return this.#fields();
    const token = this.#take();
    if (token.startsWith('"')) return { type: 'string', enum: [token.slice(1, -1)] };
    if (['string', 'number', 'boolean'].includes(token)) return { type: token };
    if (token !== 'Array') return this.#named(token);
    this.#take('<');
    const items = this.#union();
    this.#take('>');
    return { type: 'array', items };
  }

  #named(name: string): KubeObject {
    const file = this.#declarations.imports.get(name);
    if (file === undefined) throw new Error(`${this.#file} uses ${name}, which it does not import`);
    return schemaOf(file, this.#within);
  }
}
