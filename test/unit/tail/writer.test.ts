import { spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openSink } from '../../../src/tail/stdout.ts';
import { BoundedWriter, type Sink } from '../../../src/tail/writer.ts';

type Done = Parameters<Sink['write']>[1];

/** Takes what the test lets it take. */
class ScriptedSink implements Sink {
  taken = '';
  waiting: { chunk: Uint8Array; done: Done } | undefined;
  writes = 0;
  closed = false;

  write(chunk: Uint8Array, done: Done): void {
    expect(this.waiting).toBeUndefined();
    this.writes++;
    this.waiting = { chunk, done };
  }

  answer(bytes: number | undefined, code?: string): void {
    const waiting = this.waiting;
    if (waiting === undefined) throw new Error('no write is in flight');
    this.waiting = undefined;
    const count = bytes ?? waiting.chunk.length;
    this.taken += Buffer.from(waiting.chunk.subarray(0, count)).toString('latin1');
    waiting.done(code === undefined ? null : Object.assign(new Error(code), { code }), count);
  }

  close(): void {
    this.closed = true;
  }
}

describe('the bounded writer', () => {
  it('keeps one write in flight and every byte in order, through partial writes and the end of its ring', () => {
    const sink = new ScriptedSink();
    const writer = new BoundedWriter(sink, { capacityBytes: 100 });
    let sent = '';
    for (let i = 0; i < 200; i++) {
      const line = `${i} ${'é'.repeat(i % 7)}\n`;
      if (writer.offer(line)) sent += Buffer.from(line).toString('latin1');
      if (sink.waiting !== undefined && i % 2 === 0) sink.answer(Math.min(sink.waiting.chunk.length, 1 + (i % 13)));
    }
    while (sink.waiting !== undefined) sink.answer(undefined);
    expect(sink.taken).toBe(sent);
    expect(writer.queuedBytes).toBe(0);
  });

  it('refuses what does not fit, whole', () => {
    const writer = new BoundedWriter(new ScriptedSink(), { capacityBytes: 10 });
    expect(writer.offer('12345678')).toBe(true);
    expect(writer.offer('123')).toBe(false);
    expect(writer.offer('12')).toBe(true);
    expect(writer.queuedBytes).toBe(10);
    expect(writer.room).toBe(0);
  });

  it('tries again after EAGAIN, and not before its pause', async () => {
    const sink = new ScriptedSink();
    const writer = new BoundedWriter(sink, { retryMs: 1 });
    writer.offer('abc');
    sink.answer(0, 'EAGAIN');
    expect(sink.waiting).toBeUndefined();
    await expect.poll(() => sink.waiting).toBeDefined();
    sink.answer(undefined);
    expect(sink.taken).toBe('abc');
  });

  it('closes once and for all when the reader is gone', () => {
    const sink = new ScriptedSink();
    const gone: string[] = [];
    const writer = new BoundedWriter(sink, { onClosed: (error) => gone.push(error.code ?? '') });
    writer.offer('abc');
    writer.offer('def');
    sink.answer(0, 'EPIPE');
    expect(gone).toEqual(['EPIPE']);
    expect(sink.closed).toBe(true);
    expect(writer.offer('x')).toBe(false);
  });

  it('flush tells whether everything left in time', async () => {
    const sink = new ScriptedSink();
    const writer = new BoundedWriter(sink);
    expect(await writer.flush(1)).toBe(true);
    writer.offer('abc');
    expect(await writer.flush(5)).toBe(false);
    const flushed = writer.flush(10_000);
    sink.answer(undefined);
    expect(await flushed).toBe(true);
  });
});

const PROGRAM = `
import { openSink } from ${JSON.stringify(path.resolve('dist/src/tail/stdout.js'))};
import { BoundedWriter } from ${JSON.stringify(path.resolve('dist/src/tail/writer.js'))};
const writer = new BoundedWriter(openSink(1));
let accepted = 0;
for (;;) { if (!writer.offer('x'.repeat(999) + '\\n')) break; accepted++; }
const turns = performance.now();
setTimeout(async () => {
  process.stderr.write(JSON.stringify({ accepted, late: performance.now() - turns - 200, queued: writer.queuedBytes }) + '\\n');
  await writer.flush(100);
  process.exit(0);
}, 200);
`;

describe('a reader that does not read', () => {
  let folder: string;
  beforeEach(() => {
    folder = fs.mkdtempSync(path.join(os.tmpdir(), 'kerntap-tail-'));
    fs.writeFileSync(path.join(folder, 'writer.mjs'), PROGRAM);
  });
  afterEach(() => fs.rmSync(folder, { recursive: true }));

  // Node's own 'pipe' is a socket pair; a shell's is a FIFO.
  it.each([
    ['FIFO', `exec 3> >(exec sleep 60); "$0" writer.mjs >&3; code=$?; kill $!; exit $code`],
    ['socket', `exec "$0" writer.mjs`],
  ])(
    'on a %s neither stops the process, nor grows it, nor keeps it from exiting',
    async (_name, script) => {
      if (!fs.existsSync('dist/src/tail/writer.js')) throw new Error('not built: npm run build');
      const child = spawn('bash', ['-c', script, process.execPath], { cwd: folder, stdio: ['ignore', 'pipe', 'pipe'] });
      let errors = '';
      child.stderr.on('data', (data) => {
        errors += data;
      });
      const [code] = await once(child, 'exit');
      expect(code, errors).toBe(0);
      const report = JSON.parse(errors.split('\n').find((line) => line.startsWith('{')) ?? '{}');
      // Exactly its queue: the loop above never yields, so nothing can have left.
      expect(report.accepted).toBe(Math.floor((1 << 20) / 1000));
      expect(report.queued).toBeGreaterThan(500_000);
      expect(report.late).toBeLessThan(150);
    },
    20_000,
  );
});

describe('the sink', () => {
  it('writes a file', async () => {
    const file = path.join(fs.mkdtempSync(path.join(os.tmpdir(), 'kerntap-sink-')), 'out');
    const fd = fs.openSync(file, 'w');
    const writer = new BoundedWriter(openSink(fd));
    for (let i = 0; i < 5000; i++) writer.offer(`${i}\n`);
    expect(await writer.flush(5000)).toBe(true);
    fs.closeSync(fd);
    expect(fs.readFileSync(file, 'utf8')).toBe(Array.from({ length: 5000 }, (_, i) => `${i}\n`).join(''));
    fs.rmSync(path.dirname(file), { recursive: true });
  });
});
