import { spawn, spawnSync } from 'node:child_process';
import { closeSync, constants, existsSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it, vi } from 'vitest';
import { openBatch, Publisher } from '../collector/publisher.ts';

/** A pipe that nobody reads, full to the last byte. */
function stalledPipe(path: string): number {
  expect(spawnSync('mkfifo', [path]).status).toBe(0);
  const fd = openSync(path, constants.O_RDWR | constants.O_NONBLOCK);
  for (const bytes of [65536, 4096, 1]) {
    try {
      for (;;) writeSync(fd, Buffer.alloc(bytes, 0x2e));
    } catch (error) {
      expect(error).toMatchObject({ code: 'EAGAIN' });
    }
  }
  return fd;
}

it('a collector whose log nobody reads takes events, acknowledges them, and ends when it is told', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'kerntap-stalled-'));
  const stalled = stalledPipe(join(dir, 'log'));
  const blocking = openSync(join(dir, 'log'), constants.O_RDWR);
  const socket = join(dir, 'collector.sock');
  const flags = ['--listen', `unix:${socket}`, '--out', join(dir, 'events'), '--metrics', 'off'];
  const child = spawn(process.execPath, ['dist/src/cli/main.js', 'collector', ...flags], {
    stdio: ['ignore', 'ignore', blocking],
  });
  const ended = new Promise((resolve) => child.once('exit', (code, signal) => resolve({ code, signal })));
  try {
    await vi.waitUntil(() => existsSync(socket), { timeout: 15_000 });
    const agent = new Publisher(`unix:${socket}`).hello();
    agent.batch(openBatch(1n, 1n, 20));
    await agent.untilAcked(1n);
    expect(agent.acked).toBe(1n);
    agent.close();
    child.kill('SIGTERM');
    expect(await ended).toEqual({ code: 0, signal: null });
  } finally {
    child.kill('SIGKILL');
    for (const fd of [stalled, blocking]) closeSync(fd);
    rmSync(dir, { recursive: true });
  }
}, 30_000);
