import { isMap, isScalar, type Pair, parseDocument, type YAMLMap } from 'yaml';

/**
 * The table of a chart's README: a row for each value of values.yaml, with its default and the comment above it that
 * begins with `# --`. A section is a map in which every value has a row of its own; a map with a comment of its own, or
 * written in one line, is one value. Throws for YAML that is none.
 */
export function valuesTable(yaml: string): string {
  const document = parseDocument(yaml);
  if (document.errors.length > 0) throw document.errors[0];
  if (!isMap(document.contents)) throw new Error('values.yaml is not a map');
  const first = document.contents.items[0];
  // The comment above the first key belongs to the document or the map.
  const rows = rowsOf(document.contents, '', first, document.commentBefore ?? document.contents.commentBefore ?? '');
  const cells = ([key, value, about]: Row) => `| \`${key}\` | \`${value}\` | ${about} |`;
  return ['| value | default | meaning |', '|---|---|---|', ...rows.map(cells)].join('\n');
}

type Row = readonly [key: string, value: string, about: string];

function rowsOf(map: YAMLMap, prefix: string, first?: Pair, firstComment = ''): Row[] {
  return map.items.flatMap((pair): Row[] => {
    const { key, value } = pair;
    if (!isScalar(key)) throw new Error(`${prefix}: a key is not a scalar`);
    const path = prefix === '' ? String(key.value) : `${prefix}.${key.value}`;
    const own = key.commentBefore ?? (pair === first ? firstComment : map.items[0] === pair ? map.commentBefore : '');
    const about = meaning(own ?? '');
    if (isMap(value) && value.items.length > 0 && about === '' && !value.flow) return rowsOf(value, path);
    const text = JSON.stringify(
      isMap(value) || value === null ? document(value) : (value as { toJSON(): unknown }).toJSON(),
    );
    return [[path, text.replaceAll('|', '\\|'), about.replaceAll('|', '\\|')]];
  });
}

const document = (value: unknown): unknown => (isMap(value) ? value.toJSON() : value);

function meaning(comment: string): string {
  const lines = comment.split('\n').map((line) => line.trim());
  const start = lines.findLastIndex((line) => line.startsWith('-- '));
  return start < 0 ? '' : lines.slice(start).join(' ').slice(3).trim();
}
