/** The table of keys as a manual. */

import type { Field, SectionField } from './field.ts';
import { SAMPLE_MAX, SAMPLE_MIN } from './field.ts';
import { API_VERSION, ROOT } from './schema.ts';

export interface KeyManual {
  readonly key: string;
  readonly type: string;
  /** As one would write it; undefined: there is none. */
  readonly default: string | undefined;
  readonly about: string;
}

function typeOf(field: Field): string {
  switch (field.type) {
    case 'choice':
      return field.words.join(' | ');
    case 'switch':
      return 'true | false';
    case 'integer':
      return `whole number, ${field.min} to ${field.max}`;
    case 'number':
      return `number, ${field.min} to ${field.max}`;
    case 'bytes':
      return `bytes, ${field.min} to ${field.max} (also 64Ki, 1Mi)`;
    case 'text':
      return field.shape;
    case 'list':
      return field.of.type === 'section'
        ? 'list'
        : `list of: ${typeOf(field.of)}${field.orOne ? '; or one alone' : ''}`;
    case 'names':
      return 'names, each with a text';
    case 'action':
      return `trace | off | {sample: N}, N from ${SAMPLE_MIN} to ${SAMPLE_MAX}`;
    case 'part':
      return 'settings, as at the top';
    case 'section':
      return 'section';
  }
}

function collect(section: SectionField, path: string, out: KeyManual[]): void {
  for (const [name, field] of Object.entries(section.keys)) {
    const key = path === '' ? name : `${path}.${name}`;
    const value = 'default' in field ? field.default : undefined;
    out.push({
      key,
      type: typeOf(field),
      default: value === undefined || value === '' ? undefined : JSON.stringify(value).replaceAll(/^"|"$/g, ''),
      about: field.about,
    });
    if (field.type === 'section') collect(field, key, out);
    if (field.type === 'list' && field.of.type === 'section') collect(field.of, `${key}[]`, out);
  }
}

/** Every key, in the order of the table. */
export function manual(): readonly KeyManual[] {
  const keys: KeyManual[] = [];
  collect(ROOT, '', keys);
  return keys;
}

/** The entries of a key and of all below it; empty: no such key. */
export function explain(key: string): readonly KeyManual[] {
  const asked = key.replaceAll(/\[\d*\]/g, '[]');
  return manual().filter((entry) => {
    const plain = entry.key.replaceAll('[]', '');
    const wanted = asked.replaceAll('[]', '');
    return plain === wanted || plain.startsWith(`${wanted}.`);
  });
}

export const EXAMPLE = `apiVersion: ${API_VERSION}
profile: default
probes:
  file.open: sensitive
policies:
  - match: {namespace: "ci-*"}
    file: off
    process: {sample: 10}
`;
