import { chmodSync, existsSync, lstatSync, mkdtempSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type LocalAnswers, LocalSocket } from '../../../src/agent/local-socket.ts';
import type { Sink } from '../../../src/tail/writer.ts';
import { LocalRequestError } from '../../../src/telemetry/local-request.ts';

let dir: string;
let path: string;
let open: LocalSocket | undefined;
const sinks: Sink[] = [];
let closed = 0;

const answers: LocalAnswers = {
  ledger: () => ({ books: true }),
  status: () => {
    throw new Error('broken');
  },
  tail: ({ kinds }, sink) => {
    if (kinds.includes('wrong')) throw new LocalRequestError("'wrong' is not a kind");
    sinks.push(sink);
    sink.write(Buffer.from('{"kind":"file.open"}\n'), () => {});
    return { close: () => void closed++ };
  },
};

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'kerntap-socket-'));
  path = join(dir, 'run', 'agent.sock');
  sinks.length = 0;
  closed = 0;
});

afterEach(() => {
  open?.close();
  open = undefined;
  rmSync(dir, { recursive: true, force: true });
});

/** Everything that is answered until the other side ends. */
function ask(text: string | Buffer): Promise<string> {
  return new Promise((resolve, reject) => {
    let answer = '';
    const socket = connect(path, () => socket.write(text));
    socket.setEncoding('utf8');
    socket.on('data', (data) => {
      answer += data.toString();
    });
    socket.on('error', reject);
    socket.on('close', () => resolve(answer));
  });
}

function connected(): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect(path, () => resolve(socket));
    socket.on('error', reject);
  });
}

describe('the local socket', () => {
  it("is root's alone, in a folder that is made, and goes when it is closed", async () => {
    open = await LocalSocket.open({ path, answers });
    expect(lstatSync(path).isSocket()).toBe(true);
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(statSync(join(dir, 'run')).mode & 0o777).toBe(0o700);
    open.close();
    expect(existsSync(path)).toBe(false);
  });

  it('answers one object and ends', async () => {
    open = await LocalSocket.open({ path, answers });
    expect(await ask('{"ask":"ledger"}\n')).toBe('{"books":true}\n');
    expect(await ask('{"ask":"ledger"}\nmore that is not read')).toBe('{"books":true}\n');
  });

  it.each<[string, string | Buffer, string]>([
    ['no JSON', 'hello\n', 'not a line of JSON'],
    ['bytes', Buffer.from([0xff, 0xfe, 0x00, 0x0a]), 'not a line of JSON'],
    ['too much', Buffer.alloc(40_000, 0x61), 'longer than 16384 bytes'],
    ['a wrong kind', '{"ask":"tail","kinds":["wrong"]}\n', "'wrong' is not a kind"],
    ['what cannot be told', '{"ask":"status"}\n', 'failed: Error: broken'],
  ])('refuses %s with the reason, and goes on', async (_, text, reason) => {
    open = await LocalSocket.open({ path, answers });
    expect(JSON.parse(await ask(text))).toEqual({ error: expect.stringContaining(reason) });
    expect(await ask('{"ask":"ledger"}\n')).toBe('{"books":true}\n');
  });

  it('takes a request in pieces, and none that never ends', async () => {
    open = await LocalSocket.open({ path, answers, requestMs: 200 });
    const slow = await connected();
    const answer = new Promise<string>((resolve) => slow.once('data', (data) => resolve(data.toString())));
    slow.write('{"ask":');
    setImmediate(() => slow.write('"ledger"}\n'));
    expect(await answer).toBe('{"books":true}\n');
    expect(JSON.parse(await ask('{"ask":'))).toEqual({ error: 'nothing was asked for 200 ms' });
  });

  it('streams to who watches, and lets go who has gone', async () => {
    open = await LocalSocket.open({ path, answers });
    const viewer = await connected();
    const first = new Promise<string>((resolve) => viewer.once('data', (data) => resolve(data.toString())));
    viewer.write('{"ask":"tail"}\n');
    expect(await first).toBe('{"kind":"file.open"}\n');
    viewer.destroy();
    await expect.poll(() => closed).toBe(1);
    const error = await new Promise((resolve) => sinks[0]?.write(Buffer.from('x'), resolve));
    expect(error).not.toBeNull();
  });

  it('has room for so many, and tells the next', async () => {
    open = await LocalSocket.open({ path, answers, maxClients: 2 });
    const viewers = [await connected(), await connected()];
    for (const viewer of viewers) viewer.write('{"ask":"tail"}\n');
    await expect.poll(() => sinks.length).toBe(2);
    expect(JSON.parse(await ask('{"ask":"ledger"}\n'))).toEqual({ error: 'this agent has its 2 clients' });
    viewers[0]?.destroy();
    await expect.poll(() => closed).toBe(1);
    expect(await ask('{"ask":"ledger"}\n')).toBe('{"books":true}\n');
    viewers[1]?.destroy();
  });

  it('replaces what a dead agent left, but not a living one, nor what is no socket', async () => {
    await expect(LocalSocket.open({ path: '/proc/none/agent.sock', answers })).rejects.toThrow('ENOENT');
    open = await LocalSocket.open({ path, answers });
    await expect(LocalSocket.open({ path, answers })).rejects.toThrow(`another agent listens on ${path}`);
    expect(await ask('{"ask":"ledger"}\n')).toBe('{"books":true}\n');
    open.close();

    // Killed: its path stays and nobody answers.
    const dead = createServer();
    await new Promise<void>((resolve) => dead.listen(join(dir, 'dead'), resolve));
    renameSync(join(dir, 'dead'), path);
    await new Promise((resolve) => dead.close(resolve));
    expect(existsSync(path)).toBe(true);
    open = await LocalSocket.open({ path, answers });
    expect(await ask('{"ask":"ledger"}\n')).toBe('{"books":true}\n');
    open.close();

    writeFileSync(path, 'precious');
    chmodSync(path, 0o644);
    await expect(LocalSocket.open({ path, answers })).rejects.toThrow('is no socket');
    expect(existsSync(path)).toBe(true);
  });

  it('leaves the path to the one that replaced it', async () => {
    const old = await LocalSocket.open({ path, answers });
    rmSync(path);
    open = await LocalSocket.open({ path, answers });
    old.close();
    expect(await ask('{"ask":"ledger"}\n')).toBe('{"books":true}\n');
  });
});
