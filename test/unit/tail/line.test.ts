import { describe, expect, it } from 'vitest';
import { type Row, toLine } from '../../../proto/ndjson.ts';
import { CUT_COLUMN, fitLine, LINE_BYTES_MAX } from '../../../src/tail/line.ts';

const fit = (row: Row): string => fitLine(toLine(row), () => row);

describe('a line of the tail', () => {
  it('is the whole row where it fits', () => {
    const row: Row = { kind: 'process.exec', time_ns: 1_700_000_000_123_456_789n, list: ['a', null], b: 'é' };
    expect(fit(row)).toBe(toLine(row));
    expect(fit(row)).toContain('1700000000123456789');
  });

  it('cuts only the longest columns, keeps every other, and says which it cut', () => {
    const args = Array.from({ length: 400 }, (_, i) => `argument-${i}-${'x'.repeat(40)}`);
    const row: Row = { kind: 'process.exec', process_command_args: args, entry: 'init', file_path: '/etc/passwd' };
    const line = fit(row);
    const parsed = JSON.parse(line);
    expect(Buffer.byteLength(line)).toBeLessThanOrEqual(LINE_BYTES_MAX);
    expect(Buffer.byteLength(line)).toBeGreaterThan(LINE_BYTES_MAX - 200);
    expect(parsed[CUT_COLUMN]).toEqual(['process_command_args']);
    expect(parsed).toMatchObject({ kind: 'process.exec', entry: 'init', file_path: '/etc/passwd' });
    const kept: string[] = parsed.process_command_args;
    expect(kept.length).toBeGreaterThan(100);
    expect(kept.slice(0, -1)).toEqual(args.slice(0, kept.length - 1));
    expect(args[kept.length - 1]?.startsWith(kept.at(-1) ?? '?')).toBe(true);
  });

  it('keeps the start of one huge argument', () => {
    const parsed = JSON.parse(fit({ process_command_args: ['sh', '-c', 'y'.repeat(100_000)] }));
    expect(parsed.process_command_args.slice(0, 2)).toEqual(['sh', '-c']);
    expect(parsed.process_command_args[2]).toMatch(/^y{7000,}$/);
  });

  it('drops base64 whole: the half of one is of no use', () => {
    const parsed = JSON.parse(fit({ kind: 'file.open', file_path: '/x', file_path_b64: 'QUJD'.repeat(5000) }));
    expect(parsed).toEqual({ kind: 'file.open', file_path: '/x', [CUT_COLUMN]: ['file_path_b64'] });
  });

  it('drops whole labels', () => {
    const labels = Object.fromEntries(Array.from({ length: 300 }, (_, i) => [`label-${i}`, 'v'.repeat(60)]));
    const parsed = JSON.parse(fit({ kind: 'file.open', k8s_pod_labels: labels }));
    for (const [key, value] of Object.entries(parsed.k8s_pod_labels)) expect(labels[key]).toBe(value);
  });

  it('stays within the limit, and JSON, whatever the columns hold', () => {
    const evil = ['\u202e', '\x1b[2J', '"', '\\', '\ud83d\ude00', '\u0000', 'é', 'a', '\u007f', '\ud800'];
    let seed = 1;
    const random = (below: number): number => {
      seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
      return (seed >>> 8) % below;
    };
    const text = (most: number): string =>
      Array.from({ length: random(most) }, () => evil[random(evil.length)]).join('');
    for (let i = 0; i < 60; i++) {
      const row: Record<string, string | string[] | Record<string, string>> = {};
      for (let c = 0; c < 1 + random(12); c++) {
        const name = `${random(4) === 0 ? text(30) : 'c'}${c}${random(5) === 0 ? '_b64' : ''}`;
        const shape = random(3);
        if (shape === 0) row[name] = text(9000);
        else if (shape === 1) row[name] = Array.from({ length: random(40) }, () => text(600));
        else
          row[name] = Object.fromEntries(Array.from({ length: random(20) }, (_, k) => [`${k}${text(20)}`, text(400)]));
      }
      const line = fit(row);
      expect(Buffer.byteLength(line)).toBeLessThanOrEqual(LINE_BYTES_MAX);
      // biome-ignore lint/suspicious/noControlCharactersInRegex: the point of the test
      expect(line).not.toMatch(/[\x00-\x1f\x7f-\x9f\u202e]/);
      const parsed = JSON.parse(line);
      for (const [name, value] of Object.entries(row)) {
        if (typeof value === 'string' && parsed[name] !== undefined) expect(value.startsWith(parsed[name])).toBe(true);
        if (!parsed[CUT_COLUMN]?.includes(name)) expect(parsed[name]).toEqual(value);
      }
    }
  });
});
