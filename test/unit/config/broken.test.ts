import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { loadConfig, parseConfig } from '../../../src/config/load.ts';
import { ConfigError } from '../../../src/config/problem.ts';
import { BROKEN_CONFIGS } from '../../broken-configs.ts';

const HEAD = 'apiVersion: kerntap.dev/v1alpha1\n';
const context = { node: { name: 'node-1' } };

function problems(run: () => unknown) {
  try {
    run();
  } catch (error) {
    if (error instanceof ConfigError) return error.problems;
    throw error;
  }
  throw new Error('it was accepted');
}

describe('a broken configuration', () => {
  it.each(BROKEN_CONFIGS)('%s: is refused with key, line and remedy', (_, text, key, line, message, remedy) => {
    const bytes = typeof text === 'string' ? Buffer.from(text) : text;
    const [first] = problems(() => parseConfig(bytes, 'k.yaml', context));
    expect(first).toMatchObject({ key, line, message: expect.stringMatching(message) });
    expect(first?.remedy).toMatch(remedy);
  });

  it('names every problem, each on a line of its own', () => {
    const text = `${HEAD}probes: {file.opn: off}\nfailedOpens: maybe\nbudgets: {cpuCores: -1}\n`;
    const found = problems(() => parseConfig(Buffer.from(text), 'k.yaml', context));
    expect(found.map(({ key, line }) => `${line} ${key}`)).toEqual([
      '2 probes.file.opn',
      '3 failedOpens',
      '4 budgets.cpuCores',
    ]);
    expect(new ConfigError('k.yaml', found).message.split('\n')[1]).toBe(
      "k.yaml:3:14: failedOpens: 'maybe' is not true or false; write true or false",
    );
  });

  it('has no control characters in its message', () => {
    const text = `${HEAD}"\\e[31mx\\n\\u202e": 1\nclusterName: "\\e]0;x"\n`;
    const found = problems(() => parseConfig(Buffer.from(text), 'k.yaml', context));
    expect(new ConfigError('k.yaml', found).message.replaceAll('\n', '')).not.toMatch(/[\p{Cc}\p{Cf}]/u);
  });
});

describe('a file that cannot be read', () => {
  const dir = mkdtempSync(join(tmpdir(), 'kerntap-config-'));
  afterAll(() => rmSync(dir, { recursive: true, force: true }));

  it('says so: missing, a folder', () => {
    expect(problems(() => loadConfig(join(dir, 'none'), context))[0]).toMatchObject({ message: 'is not there' });
    expect(problems(() => loadConfig(dir, context))[0]).toMatchObject({ message: 'is not a regular file' });
  });

  it('says so: no permission', () => {
    const file = join(dir, 'secret.yaml');
    writeFileSync(file, HEAD);
    chmodSync(file, 0);
    const root = process.geteuid?.() === 0;
    if (root) process.seteuid?.(65_534);
    try {
      expect(problems(() => loadConfig(file, context))[0]).toMatchObject({
        key: '(file)',
        message: 'may not be read',
        remedy: expect.stringMatching(/chmod/),
      });
    } finally {
      if (root) process.seteuid?.(0);
    }
  });
});
