/** The table of keys as JSON Schema (2020-12), for editors and for Helm. It says what the agent's own check says of each key alone. */
import { type Field, SAMPLE_MAX, SAMPLE_MIN, type SectionField } from './field.ts';
import { ROOT, SETTINGS_ROOT } from './schema.ts';

type Schema = { readonly [name: string]: unknown };

/** YAML 1.1 readers, Helm among them, take on and off for booleans. */
const OFF_ON: Readonly<Record<string, boolean>> = { off: false, on: true };

function described(field: Field, schema: Schema): Schema {
  return {
    description: field.about,
    ...schema,
    ...('default' in field && field.default !== undefined ? { default: field.default } : {}),
  };
}

function section(field: SectionField): Schema {
  const properties = Object.fromEntries(Object.entries(field.keys).map(([name, child]) => [name, schemaOf(child)]));
  return {
    type: 'object',
    additionalProperties: false,
    properties,
    ...(field.required === undefined ? {} : { required: field.required }),
  };
}

function schemaOf(field: Field): Schema {
  switch (field.type) {
    case 'section': {
      const nullable = section(field);
      return described(field, field.required === undefined ? { ...nullable, type: ['object', 'null'] } : nullable);
    }
    case 'part':
      return described(field, { $ref: '#/$defs/settings' });
    case 'choice':
      return described(field, { enum: [...field.words, ...field.words.flatMap((word) => OFF_ON[word] ?? [])] });
    case 'switch':
      return described(field, { type: 'boolean' });
    case 'integer':
    case 'number':
      return described(field, { type: field.type, minimum: field.min, maximum: field.max });
    case 'bytes':
      return described(field, {
        oneOf: [
          { type: 'integer', minimum: field.min, maximum: field.max },
          { type: 'string', pattern: '^[0-9]{1,12}(Ki|Mi|Gi)$' },
        ],
      });
    case 'text':
      return described(field, { type: 'string', pattern: field.pattern.source });
    case 'list': {
      const item = schemaOf(field.of);
      const list = { type: 'array', maxItems: field.max, items: item };
      return described(field, field.orOne ? { oneOf: [item, list] } : list);
    }
    case 'names':
      return described(field, { type: 'object', maxProperties: field.max, additionalProperties: { type: 'string' } });
    case 'action': {
      const sample = { type: 'integer', minimum: SAMPLE_MIN, maximum: SAMPLE_MAX };
      const sampled = { type: 'object', additionalProperties: false, required: ['sample'], properties: { sample } };
      return described(field, { oneOf: [{ enum: ['trace', 'on', true, 'off', false] }, sampled] });
    }
  }
}

/** The published schema; docs/config.schema.json is this. */
export function configJsonSchema(): Schema {
  return {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    title: 'kerntap agent configuration',
    description: ROOT.about,
    ...section(ROOT),
    $defs: { settings: section(SETTINGS_ROOT) },
  };
}
