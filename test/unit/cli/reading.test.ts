import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { LocalSocket } from '../../../src/agent/local-socket.ts';
import { booksAsTable } from '../../../src/cli/ledger.ts';
import { askAgent, LocalError } from '../../../src/cli/local-client.ts';
import { prettyText } from '../../../src/cli/tail.ts';
import { READINGS } from '../telemetry/agent-readings.ts';

const BALANCE = {
  kinds: [
    { kind: 'file.open', seen: 100, suppressed: 55, lost: 5, delivered: 33, inFlight: 7 },
    { kind: 'process.exec', seen: 7, suppressed: 0, lost: 0, delivered: 7, inFlight: 0 },
  ],
  gaps: [],
  balances: true,
};

describe('kerntap ledger', () => {
  it('prints a line for each kind, what is lost, what is on disk and of whom, and the verdict', () => {
    expect(booksAsTable({ ledger: READINGS.ledger, balance: BALANCE })).toBe(
      [
        'kind          seen  suppressed  lost  delivered  in flight',
        'file.open      100          55     5         33          7',
        'process.exec     7           0     0          7          0',
        'all            107          55     5         40          7',
        '',
        'lost',
        '  5 file.open in kernel: ring_full',
        '  2 events in queue: overflow',
        '',
        '3 of those in flight are on disk: a restart keeps them.',
        '',
        'of earlier runs: 5 events are on disk, 11 were delivered',
        '  run aa: 3 file.open lost in run: killed',
        '  run bb: 4 file.open lost in run: killed',
        '',
        'The books balance.',
        '',
      ].join('\n'),
    );
  });

  it('says where they do not balance', () => {
    const balance = { ...BALANCE, gaps: [{ at: 'stream', events: -3 }], balances: false };
    const ledger = { ...READINGS.ledger, lost: [] };
    expect(booksAsTable({ ledger, balance })).toContain(
      'The books do not balance:\n  -3 events unexplained between stream and collector\n',
    );
  });
});

describe('kerntap tail', () => {
  it('shows events for people, and tells what was dropped', () => {
    const row = { kind: 'kerntap.loss', time: '2026-01-02T03:04:05.678901234Z', loss_count: 3, loss_stage: 'kernel' };
    expect(prettyText(JSON.stringify(row), false, 0)).toMatch(/^03:04:05\.678 kerntap\.loss +lost 3 events in kernel/);
    expect(prettyText('{"kind":"kerntap.tail_dropped","count":9}', false, 0)).toBe('... 9 events were not shown');
  });

  it('escapes what would move the terminal', () => {
    const row = { kind: 'file.unlink', time: '', file_path: '/\u001b[2J\u202e' };
    expect(prettyText(JSON.stringify(row), false, 0)).toContain('/\\u001b[2J\\u202e');
  });
});

describe('asking the agent', () => {
  let dir = '';
  let open: LocalSocket | undefined;
  afterEach(() => {
    open?.close();
    open = undefined;
    rmSync(dir, { recursive: true, force: true });
  });

  async function all(lines: AsyncGenerator<string>): Promise<string[]> {
    const out: string[] = [];
    for await (const line of lines) out.push(line);
    return out;
  }

  async function serve(): Promise<string> {
    dir = mkdtempSync(join(tmpdir(), 'kerntap-ask-'));
    const path = join(dir, 'agent.sock');
    open = await LocalSocket.open({
      path,
      answers: {
        ledger: () => ({ text: 'é'.repeat(100_000) }),
        status: () => ({}),
        tail: (_, sink) => {
          sink.write(Buffer.from('{"n":1}\n{"n":2}\n{"torn":'), () => {});
          return { close: () => {} };
        },
      },
    });
    return path;
  }

  it('gives whole lines, however they arrive', async () => {
    const [line] = await all(askAgent(await serve(), { ask: 'ledger' }));
    expect(JSON.parse(line ?? '')).toEqual({ text: 'é'.repeat(100_000) });
  });

  it('ends when it is interrupted', async () => {
    const stop = new AbortController();
    const lines: string[] = [];
    for await (const line of askAgent(await serve(), { ask: 'tail' }, stop.signal)) {
      lines.push(line);
      if (lines.length === 2) stop.abort();
    }
    expect(lines).toEqual(['{"n":1}', '{"n":2}']);
  });

  it('tells why there is no answer', async () => {
    const path = await serve();
    await expect(all(askAgent(path, { ask: 'nonsense' }))).rejects.toThrow('the agent refused: ask: not one of');
    await expect(all(askAgent(`${path}.none`, { ask: 'ledger' }))).rejects.toThrow(LocalError);
    await expect(all(askAgent(`${path}.none`, { ask: 'ledger' }))).rejects.toThrow('no agent runs here');
  });
});
