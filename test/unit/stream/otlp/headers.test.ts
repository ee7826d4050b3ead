import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { readHeaders } from '../../../../src/stream/otlp/headers.ts';

const dir = mkdtempSync(join(tmpdir(), 'kt-headers-'));
const file = join(dir, 'token');
afterAll(() => rmSync(dir, { recursive: true, force: true }));

const header = (name: string, from: { value?: string; file?: string; env?: string }) => ({
  name,
  value: undefined,
  file: undefined,
  env: undefined,
  ...from,
});

it('takes values as they are, from files and from the environment, as these are now', () => {
  const settings = [header('a', { value: 'plain' }), header('b', { file }), header('c', { env: 'C' })];
  writeFileSync(file, 'Bearer one\n');
  expect(readHeaders(settings, { C: 'see' })).toEqual({ a: 'plain', b: 'Bearer one', c: 'see' });
  writeFileSync(file, 'Bearer two\n');
  expect(readHeaders(settings, { C: 'see' })['b']).toBe('Bearer two');
});

it('says what is missing, and never a value', () => {
  expect(() => readHeaders([header('b', { file: join(dir, 'none') })], {})).toThrow(
    /b: .*none cannot be read \(ENOENT\)/,
  );
  expect(() => readHeaders([header('c', { env: 'C' })], {})).toThrow('stream.otlp.headers: c: $C is not set');
  writeFileSync(file, 'secr\u00e9t');
  expect(() => readHeaders([header('b', { file })], {})).toThrow(/b: is empty, too long, or not printable ASCII$/);
});
