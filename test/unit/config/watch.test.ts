import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, unlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { configHash, loadConfig, readConfigFile } from '../../../src/config/load.ts';
import type { ConfigError } from '../../../src/config/problem.ts';
import type { Settings } from '../../../src/config/schema.ts';
import { ConfigWatch } from '../../../src/config/watch.ts';

const HEAD = 'apiVersion: kerntap.dev/v1alpha1\n';
const named = (name: string) => `${HEAD}clusterName: ${name}\n`;
const context = { node: { name: 'n' } };

let dir: string;
let watches: ConfigWatch[];

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'kerntap-watch-'));
  watches = [];
});
afterEach(() => {
  for (const watch of watches) watch.stop();
  rmSync(dir, { recursive: true, force: true });
});

function follow(file: string, { pollMs = 3_600_000, refuse = false } = {}) {
  const seen: string[] = [];
  const errors: ConfigError[] = [];
  loadConfig(file, context);
  const watch = new ConfigWatch(configHash(readConfigFile(file)), {
    file,
    context,
    pollMs,
    settleMs: 1,
    onSettings: (settings: Settings) => {
      if (refuse) throw new Error('the tap refuses');
      seen.push(settings.clusterName);
    },
    onRefused: (error) => errors.push(error),
  });
  watches.push(watch);
  watch.start();
  return { watch, seen, errors };
}

/** A mounted ConfigMap: links to `..data`, which is a link to a folder. */
class Volume {
  readonly file = join(dir, 'kerntap.yaml');
  #version = 0;

  constructor(text: string) {
    this.swap(text);
    symlinkSync('..data/kerntap.yaml', this.file);
  }

  swap(text: string): void {
    const folder = `..v${++this.#version}`;
    mkdirSync(join(dir, folder));
    writeFileSync(join(dir, folder, 'kerntap.yaml'), text);
    symlinkSync(folder, join(dir, '..data_tmp'));
    renameSync(join(dir, '..data_tmp'), join(dir, '..data'));
  }
}

const soon = (condition: () => void) => vi.waitFor(condition, { timeout: 10_000, interval: 5 });

describe('the watch on a configuration file', () => {
  it('sees the swap of a mounted ConfigMap', async () => {
    const volume = new Volume(named('a'));
    const { seen, watch } = follow(volume.file);
    for (const name of ['b', 'c', 'd']) {
      volume.swap(named(name));
      await soon(() => expect(seen.at(-1)).toBe(name));
    }
    expect(seen).toEqual(['b', 'c', 'd']);
    expect(watch.status).toMatchObject({ generation: 4, applied: 3, refused: 0, lastSuccessful: true, problem: '' });
  });

  it('sees a plain file that is written in place or replaced', async () => {
    const file = join(dir, 'k.yaml');
    writeFileSync(file, named('a'));
    const { seen } = follow(file);
    writeFileSync(file, named('b'));
    await soon(() => expect(seen).toEqual(['b']));
    writeFileSync(join(dir, 'new'), named('c'));
    renameSync(join(dir, 'new'), file);
    await soon(() => expect(seen).toEqual(['b', 'c']));
  });

  it('sees a change by its poll where the folder tells nothing', async () => {
    const target = mkdtempSync(join(tmpdir(), 'kerntap-target-'));
    try {
      writeFileSync(join(target, 'k.yaml'), named('a'));
      symlinkSync(join(target, 'k.yaml'), join(dir, 'k.yaml'));
      const { seen } = follow(join(dir, 'k.yaml'), { pollMs: 20 });
      writeFileSync(join(target, 'k.yaml'), named('b'));
      await soon(() => expect(seen).toEqual(['b']));
    } finally {
      rmSync(target, { recursive: true });
    }
  });

  it('keeps the last good settings on an error, tells it once, and is well again when it is undone', () => {
    const file = join(dir, 'k.yaml');
    writeFileSync(file, named('a'));
    const { watch, seen, errors } = follow(file);
    writeFileSync(file, `${HEAD}probs: {}\n`);
    for (let i = 0; i < 3; i++) watch.check();
    expect(seen).toEqual([]);
    expect(errors.map(({ message }) => message)).toEqual([
      `${file}:2:1: probs: unknown key 'probs'; did you mean probes?`,
    ]);
    expect(watch.status).toMatchObject({
      generation: 1,
      refused: 1,
      lastSuccessful: false,
      problem: errors[0]?.message,
    });
    writeFileSync(file, named('a'));
    watch.check();
    expect(watch.status).toMatchObject({ generation: 1, refused: 1, lastSuccessful: true, problem: '' });
    expect(seen).toEqual([]);
    writeFileSync(file, named('b'));
    watch.check();
    expect(seen).toEqual(['b']);
  });

  it('keeps the last good settings when the file is gone, tells it once, and takes the next one', () => {
    const file = join(dir, 'k.yaml');
    writeFileSync(file, named('a'));
    const { watch, seen, errors } = follow(file);
    unlinkSync(file);
    for (let i = 0; i < 3; i++) watch.check();
    expect(errors).toHaveLength(1);
    expect(errors[0]?.message).toMatch(/is not there/);
    expect(watch.status).toMatchObject({ refused: 1, lastSuccessful: false });
    writeFileSync(file, named('b'));
    watch.check();
    expect(seen).toEqual(['b']);
    expect(watch.status).toMatchObject({ lastSuccessful: true, generation: 2 });
    unlinkSync(file);
    watch.check();
    expect(errors).toHaveLength(2);
  });

  it('counts what could not be put in force as refused', () => {
    const file = join(dir, 'k.yaml');
    writeFileSync(file, named('a'));
    const { watch, errors } = follow(file, { refuse: true });
    writeFileSync(file, named('b'));
    watch.check();
    watch.check();
    expect(errors.map(({ message }) => message)).toEqual([expect.stringMatching(/the tap refuses/)]);
    expect(watch.status).toMatchObject({ generation: 1, refused: 1, lastSuccessful: false });
  });

  it('is judged anew when the labels of the node become known', () => {
    const override = 'overrides: [{match: {nodeLabels: {pool: gpu}}, set: {clusterName: b}}]\n';
    const { file } = new Volume(`${named('a')}${override}`);
    const { watch, seen } = follow(file);
    watch.check();
    expect(seen).toEqual([]);
    watch.reconsider({ node: { name: 'n', labels: { pool: 'gpu' } } });
    watch.reconsider({ node: { name: 'n', labels: { pool: 'cpu' } } });
    watch.check();
    expect(seen).toEqual(['b', 'a']);
    expect(watch.status).toMatchObject({ lastSuccessful: true, problem: '' });
  });
});
