import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Blackhole } from './blackhole.ts';
import { type Comparison, compare, faults } from './comparison.ts';
import { until } from './condition.ts';
import { ControlGroup } from './control-group.ts';
import { RunningAgent } from './running-agent.ts';
import { type Act, programPath, type RunOptions, runTruth } from './truth-program.ts';
import { UNSEEN_BY_SYSCALL_TIERS, unseenActs } from './unseen.ts';
import { fillForExec, makeWorkDir, removeWorkDir } from './work-dir.ts';

let agent: RunningAgent;

beforeAll(async () => {
  agent = await RunningAgent.start();
});

afterAll(async () => {
  await agent?.stop();
  agent?.clean();
});

interface Laid extends Comparison {
  readonly acts: readonly Act[];
}

/** Runs a program in a cgroup of its own and lays its acts beside all rows of that cgroup. */
async function lay(program: string, options: RunOptions = {}): Promise<Laid> {
  const group = ControlGroup.host(program);
  try {
    const { acts } = await runTruth(group, program, options);
    const unseen = unseenActs(program);
    const count = acts.filter((act) => !unseen.has(act.act)).length;
    await agent.settle();
    // A connection's end may come later than all else. Without it the comparison says what is missing.
    await until('the last rows', () => agent.of(group).length >= count, 5_000).catch(() => {});
    const context = { group, exe: programPath(program), entry: 'host', unseen };
    return { acts, ...compare(acts, agent.of(group), context) };
  } finally {
    group.remove();
  }
}

async function layInWorkDir(program: string, options: RunOptions = {}): Promise<Laid> {
  const dir = makeWorkDir();
  try {
    if (program === 'exec') fillForExec(dir);
    return await lay(program, { ...options, args: [dir, ...(options.args ?? [])] });
  } finally {
    removeWorkDir(dir);
  }
}

describe('each act comes out exactly once, every field as it was', () => {
  test.each(['open', 'failing', 'close', 'change', 'path', 'mount', 'uring', 'exit', 'exec'])('%s', async (program) => {
    expect(faults(await layInWorkDir(program))).toEqual([]);
  });

  test('tcp', async () => {
    expect(faults(await lay('tcp'))).toEqual([]);
  });

  test('connect', async () => {
    const blackhole = new Blackhole();
    try {
      const laid = await layInWorkDir('connect', { netns: blackhole.file, args: [blackhole.address] });
      expect(faults(laid)).toEqual([]);
    } finally {
      blackhole.remove();
    }
  });
});

test('what the system-call tiers cannot see are acts that were done', async () => {
  for (const [program, acts] of Object.entries(UNSEEN_BY_SYSCALL_TIERS)) {
    const laid = await layInWorkDir(program);
    const done = laid.acts.map((act) => act.act);
    expect(done).toEqual(expect.arrayContaining(Object.keys(acts)));
    expect(laid.unexpected).toEqual([]);
  }
});
