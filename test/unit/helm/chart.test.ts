import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { configValues } from './config-values.ts';
import { valuesTable } from './values-table.ts';

const root = join(import.meta.dirname, '../../..');
const chart = join(root, 'helm/kerntap');
const text = (file: string) => readFileSync(file, 'utf8');

/** `vitest run --project unit test/unit/helm -u` writes both files anew. */
describe('what the chart says of its values', () => {
  it('is in the README as values.yaml has it', async () => {
    const readme = text(join(chart, 'README.md'));
    const [head, tail] = [readme.split('<!-- values -->')[0], readme.split('<!-- /values -->')[1]];
    const table = valuesTable(text(join(chart, 'values.yaml')));
    await expect(`${head}<!-- values -->\n${table}\n<!-- /values -->${tail}`).toMatchFileSnapshot(
      join(chart, 'README.md'),
    );
  });

  it("knows the agent's configuration as the agent does", async () => {
    const schema = JSON.parse(text(join(chart, 'values.schema.json')));
    const { config, node, definitions } = configValues(JSON.parse(text(join(root, 'docs/config.schema.json'))));
    const whole = { ...schema, properties: { ...schema.properties, config, node }, definitions };
    await expect(`${JSON.stringify(whole, null, 1)}\n`).toMatchFileSnapshot(join(chart, 'values.schema.json'));
  });

  it('has a type for every default', () => {
    const holes: string[] = [];
    // biome-ignore lint/suspicious/noExplicitAny: walks foreign JSON
    const walk = (value: any, schema: any, path: string): void => {
      if (schema === undefined) holes.push(path);
      else if (schema.properties !== undefined)
        for (const [key, each] of Object.entries(value ?? {})) walk(each, schema.properties[key], `${path}.${key}`);
    };
    walk(parse(text(join(chart, 'values.yaml'))), JSON.parse(text(join(chart, 'values.schema.json'))), '');
    expect(holes).toEqual([]);
  });
});

it('chart, image and package are of one version', () => {
  const { version } = JSON.parse(text(join(root, 'package.json')));
  expect(parse(text(join(chart, 'Chart.yaml'))).appVersion).toBe(version);
  expect(text(join(root, 'Dockerfile'))).toContain(`org.opencontainers.image.version="${version}"`);
});
