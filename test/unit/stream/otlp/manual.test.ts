import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { COLUMNS } from '../../../../proto/columns.ts';
import { otlpManual } from '../../../../src/stream/otlp/manual.ts';

it('docs/otlp.md is current (node dist/src/stream/otlp/manual.js > docs/otlp.md)', () => {
  expect(readFileSync(new URL('../../../../docs/otlp.md', import.meta.url), 'utf8')).toBe(otlpManual());
});

it('the manual names no column twice', () => {
  const named = [...otlpManual().matchAll(/^\| `(\w+)` \| /gm)].map(([, name]) => name);
  const columns = new Set([...COLUMNS.values()].flat().map(({ name }) => name));
  const told = named.filter((name) => columns.has(name ?? ''));
  expect(new Set(told).size).toBe(told.length);
});
