import { type ChildProcessWithoutNullStreams, execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { DEFAULT_TAP_CONFIG } from '../../src/kernel/config.ts';
import {
  KT_FILE_CLOSE,
  KT_FILE_OPEN,
  KT_PROCESS_EXEC,
  KT_PROCESS_EXIT,
  KT_SOCKET_ACCEPT,
  KT_SOCKET_CLOSE,
  KT_SOCKET_CONNECT,
} from '../../src/kernel/layout.gen.ts';
import { PROBES } from '../../src/kernel/probes.ts';
import { KernelTap } from '../../src/kernel/tap.ts';

/**
 * What the tap adds to the acts that it watches and to one that it does not: the act's own time bare, and with probes
 * on, round after round in the same run, so that a machine that drifts drifts for both. The acts run pinned to one
 * processor, the ring is drained on the others. Figures are medians over the rounds.
 */
const ROUNDS = Number(process.env['ROUNDS'] ?? 15);
const COUNTS = { open: 20_000, connect: 2_000, exec: 150, getppid: 100_000 } as const;
type Act = keyof typeof COUNTS;

/** Which probes are on, and which acts are timed under them. */
const SETS: readonly { name: string; kinds: readonly number[]; openMode: 'all' | 'sensitive'; acts: readonly Act[] }[] =
  [
    { name: 'trackers only', kinds: [], openMode: 'sensitive', acts: ['open', 'exec', 'getppid'] },
    { name: 'file.open all', kinds: [KT_FILE_OPEN], openMode: 'all', acts: ['open', 'getppid'] },
    { name: 'file.open sensitive', kinds: [KT_FILE_OPEN], openMode: 'sensitive', acts: ['open'] },
    { name: 'open + close', kinds: [KT_FILE_OPEN, KT_FILE_CLOSE], openMode: 'all', acts: ['open'] },
    {
      name: 'socket.*',
      kinds: [KT_SOCKET_CONNECT, KT_SOCKET_ACCEPT, KT_SOCKET_CLOSE],
      openMode: 'all',
      acts: ['connect', 'getppid'],
    },
    { name: 'exec + exit', kinds: [KT_PROCESS_EXEC, KT_PROCESS_EXIT], openMode: 'all', acts: ['exec', 'getppid'] },
    {
      name: 'defaults',
      kinds: PROBES.map(({ kind }) => kind),
      openMode: 'sensitive',
      acts: ['open', 'connect', 'exec', 'getppid'],
    },
  ];

let folder: string;
let acts: ChildProcessWithoutNullStreams;
let answers: AsyncIterator<string>;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'kerntap-bench-'));
  const program = join(folder, 'acts');
  execFileSync('cc', ['-static', '-O2', '-o', program, join(import.meta.dirname, 'acts.c')]);
  acts = spawn('taskset', ['-c', '1', program], { stdio: ['pipe', 'pipe', 'pipe'] });
  answers = createInterface({ input: acts.stdout })[Symbol.asyncIterator]();
});

afterAll(() => {
  acts.stdin.end();
  rmSync(folder, { recursive: true, force: true });
});

async function time(act: Act): Promise<number> {
  acts.stdin.write(`${act} ${COUNTS[act]}\n`);
  return Number((await answers.next()).value);
}

const median = (values: readonly number[]): number =>
  values.toSorted((a, b) => a - b)[values.length >> 1] ?? Number.NaN;

test('what each probe set adds', async () => {
  const buffer = new Uint8Array(256 * 1024);
  const figures = new Map<string, number[]>();
  const record = async (set: string, list: readonly Act[]) => {
    for (const act of list) {
      const key = `${set}\t${act}`;
      figures.set(key, [...(figures.get(key) ?? []), await time(act)]);
    }
  };
  for (let round = 0; round < ROUNDS; round++) {
    await record('bare', ['open', 'connect', 'exec', 'getppid']);
    const tap = KernelTap.open();
    const drain = setInterval(() => {
      while (tap.drain(buffer) > buffer.length / 2);
    }, 10);
    try {
      for (const set of SETS) {
        tap.configure({ ...DEFAULT_TAP_CONFIG, openMode: set.openMode });
        for (const status of tap.enable(set.kinds)) expect(status.state, status.reason).toBe('on');
        await record(set.name, set.acts);
        tap.disable(set.kinds);
      }
    } finally {
      clearInterval(drain);
      tap.close();
    }
  }
  const bare = (act: string) => median(figures.get(`bare\t${act}`) ?? []);
  console.log(`\nmedians of ${ROUNDS} rounds\n`);
  console.log('| probes on | act | ns | added ns | added |\n|---|---|---|---|---|');
  for (const [key, values] of figures) {
    const [set, act] = key.split('\t') as [string, string];
    const ns = median(values);
    const added = ns - bare(act);
    console.log(
      `| ${set} | ${act} | ${ns.toFixed(0)} | ${added.toFixed(0)} | ${((100 * added) / bare(act)).toFixed(1)} % |`,
    );
  }
  expect(figures.size).toBeGreaterThan(0);
});
