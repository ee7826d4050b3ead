import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { EXAMPLE, explain, manual } from '../../../src/config/explain.ts';
import { configJsonSchema } from '../../../src/config/json-schema.ts';
import { parseConfig } from '../../../src/config/load.ts';
import { configReference } from '../../../src/config/reference.ts';
import { PROBES } from '../../../src/kernel/probes.ts';

describe('the table of keys', () => {
  it('is published as docs/config.schema.json (kerntap config schema)', () => {
    const file = fileURLToPath(new URL('../../../docs/config.schema.json', import.meta.url));
    expect(JSON.parse(readFileSync(file, 'utf8'))).toEqual(JSON.parse(JSON.stringify(configJsonSchema())));
  });

  it('is docs/configuration.md (node dist/src/config/reference.js > docs/configuration.md)', () => {
    const file = fileURLToPath(new URL('../../../docs/configuration.md', import.meta.url));
    expect(readFileSync(file, 'utf8')).toBe(configReference());
  });

  it('shows an example there that is valid', () => {
    const example = /```yaml\n([^`]+)```/.exec(configReference())?.[1] ?? '';
    expect(parseConfig(Buffer.from(example), 'example', { node: { name: 'n' } }).policies).toHaveLength(2);
  });

  it('explains every key in a sentence', () => {
    for (const { key, about } of manual()) expect(`${key}: ${about}`).toMatch(/: [A-Z*/a-z].{3,}\.$/s);
    expect(manual().length).toBeGreaterThan(60);
  });

  it('has every kind that a probe takes', () => {
    const keys = manual().map(({ key }) => key);
    const kinds = PROBES.filter(({ tiers }) => tiers.length > 0).map(({ name }) => `probes.${name}`);
    expect(keys).toEqual(expect.arrayContaining(kinds));
  });

  it('explains a key with what is below it, list items with or without brackets', () => {
    expect(explain('budgets').map(({ key }) => key)).toEqual([
      'budgets',
      'budgets.containerEventsPerSecond',
      'budgets.nodeEventsPerSecond',
      'budgets.burstSeconds',
      'budgets.cpuCores',
    ]);
    expect(explain('policies[0].file')).toEqual(explain('policies.file'));
    expect(explain('policies.file')[0]).toMatchObject({ type: expect.stringMatching(/sample: N/) });
    expect(explain('nothing')).toEqual([]);
  });

  it('shows an example that is valid', () => {
    expect(parseConfig(Buffer.from(EXAMPLE), 'example', { node: { name: 'n' } }).policies).toHaveLength(1);
  });
});
