import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ConfigVolume } from './config-volume.ts';
import type { Row } from './event-files.ts';
import { RunningAgent } from './running-agent.ts';

const run = promisify(execFile);
const SECRET = `S3cret${randomBytes(6).toString('hex')}`;
const MARK = /<redacted:[0-9a-f]{16}>/;

let volume: ConfigVolume;
let agent: RunningAgent;

beforeAll(async () => {
  volume = new ConfigVolume('env: {allow: [KT_TEST_*, AWS_SECRET_ACCESS_KEY]}\n');
  agent = await RunningAgent.start({ flags: ['--config', volume.file], keepStdout: true });
});

afterAll(async () => {
  await agent?.stop();
  agent?.clean();
  volume?.remove();
});

/** Runs /bin/true and gives its pid. */
async function execute(args: readonly string[], env: Record<string, string> = {}): Promise<number> {
  const child = run('/bin/true', [...args], { env: { KT_TEST_MARK: 'here', ...env } });
  const { pid } = child.child;
  await child;
  return pid ?? 0;
}

const execOf = (rows: readonly Row[], pid: number) =>
  rows.find((row) => row['kind'] === 'process.exec' && row['process_pid'] === pid);

function everyFile(dir: string): string[] {
  return readdirSync(dir, { recursive: true, encoding: 'utf8', withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
}

test('a secret in a command line or in the environment reaches neither the tail, nor the log, nor a file', async () => {
  const planted = [
    [`--password=${SECRET}`, 'shown'],
    ['--token', SECRET, 'shown'],
    [`https://user:${SECRET}@host/shown`],
    ['-H', `Authorization: Bearer ${SECRET}`, 'shown'],
    ['sh', '-c', `DB_PASSWORD=${SECRET} shown`],
  ];
  const pids: number[] = [];
  for (const args of planted) pids.push(await execute(args));
  const withEnv = await execute(['shown'], { AWS_SECRET_ACCESS_KEY: SECRET, OTHER: SECRET });
  const rows = await agent.settle();
  const execs = pids.map((pid) => execOf(rows, pid));
  await agent.stop();

  const marks = execs.map((exec) => {
    const args = exec?.['process_command_args'];
    const line = Array.isArray(args) ? args.join(' ') : '';
    expect(line).toMatch(/shown/);
    return MARK.exec(line)?.[0];
  });
  // One secret, one hash, also in the environment: joins work.
  expect(new Set(marks).size).toBe(1);
  expect(marks[0]).toMatch(MARK);
  expect(execOf(rows, withEnv)?.['process_environment']).toEqual(
    expect.arrayContaining(['KT_TEST_MARK=here', `AWS_SECRET_ACCESS_KEY=${marks[0]}`]),
  );

  const stdout = Buffer.concat(agent.stdout).toString('latin1');
  expect(stdout).toContain(marks[0]);
  expect(stdout).not.toContain(SECRET);
  const files = everyFile(agent.dir);
  expect(files.some((file) => readFileSync(file, 'latin1').includes(marks[0] as string))).toBe(true);
  for (const file of files) expect(readFileSync(file, 'latin1').includes(SECRET), file).toBe(false);
  expect(agent.log.join('\n')).not.toContain(SECRET);
});
