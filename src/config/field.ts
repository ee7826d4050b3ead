/** What a key of the configuration may hold. One table of these (schema.ts) is the schema, its types and its manual. */

interface Described {
  /** One sentence for `kerntap config explain` and the published JSON Schema. */
  readonly about: string;
}

export interface TextField extends Described {
  readonly type: 'text';
  readonly default?: string;
  readonly pattern: RegExp;
  /** What the pattern asks for, for people. */
  readonly shape: string;
}

export interface ChoiceField extends Described {
  readonly type: 'choice';
  readonly words: readonly string[];
  readonly default?: string;
}

export interface SwitchField extends Described {
  readonly type: 'switch';
  readonly default: boolean;
}

/** `bytes` also takes 64Ki, 1Mi, 1Gi. */
export interface NumberField extends Described {
  readonly type: 'integer' | 'number' | 'bytes';
  readonly min: number;
  readonly max: number;
  readonly default?: number;
}

export interface ListField extends Described {
  readonly type: 'list';
  readonly of: Field;
  readonly max: number;
  readonly default?: readonly unknown[];
  /** A single value stands for a list of one. */
  readonly orOne?: true;
}

/** Free names, each with a text. */
export interface NamesField extends Described {
  readonly type: 'names';
  readonly max: number;
}

/** trace, off or {sample: N}. */
export interface ActionField extends Described {
  readonly type: 'action';
}

/** A part of the settings themselves: what an override sets. */
export interface PartField extends Described {
  readonly type: 'part';
}

export interface SectionField extends Described {
  readonly type: 'section';
  readonly keys: Readonly<Record<string, Field>>;
  readonly required?: readonly string[];
}

export type Field =
  | TextField
  | ChoiceField
  | SwitchField
  | NumberField
  | ListField
  | NamesField
  | ActionField
  | PartField
  | SectionField;

export type Action = 'trace' | 'off' | { readonly sample: number };

/** A rule's sampling: one of so many processes. */
export const SAMPLE_MIN = 2;
export const SAMPLE_MAX = 1_000_000;

/** The value of a field, once defaults are in; without a default it may be undefined. */
export type Value<F> = F extends { readonly type: 'choice'; readonly words: readonly (infer Word)[] }
  ? Word
  : F extends { readonly type: 'switch' }
    ? boolean
    : F extends { readonly type: 'integer' | 'number' | 'bytes' }
      ? number
      : F extends { readonly type: 'text' }
        ? string
        : F extends { readonly type: 'list'; readonly of: infer Item }
          ? readonly Value<Item>[]
          : F extends { readonly type: 'names' }
            ? Readonly<Record<string, string>>
            : F extends { readonly type: 'action' }
              ? Action
              : F extends { readonly type: 'part' }
                ? Given
                : F extends { readonly type: 'section'; readonly keys: infer Keys }
                  ? {
                      readonly [K in keyof Keys]: Keys[K] extends Settled ? Value<Keys[K]> : Value<Keys[K]> | undefined;
                    }
                  : never;

type Settled = { readonly default: unknown } | { readonly type: 'section' };

/** What a file says: only the keys that stand there, checked. */
export interface Given {
  readonly [key: string]: unknown;
}
