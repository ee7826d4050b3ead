import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { COLUMNS } from '../../../proto/columns.ts';
import { eventReference } from '../../../proto/columns-doc.ts';

test('docs/events.md is current (node dist/proto/columns-doc.js > docs/events.md)', () => {
  expect(readFileSync(join(import.meta.dirname, '../../../docs/events.md'), 'utf8')).toBe(eventReference());
});

test('a column has one type, whatever the kind', () => {
  const types = new Map<string, string>();
  for (const columns of COLUMNS.values()) {
    for (const { name, type } of columns) {
      expect(types.get(name) ?? type, name).toBe(type);
      types.set(name, type);
      expect(name).toMatch(/^[a-z][a-z0-9]*(_[a-z0-9]+)*$/);
    }
    expect(new Set(columns.map(({ name }) => name)).size).toBe(columns.length);
  }
});
