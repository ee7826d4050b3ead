import { afterAll, beforeAll, expect, test } from 'vitest';
import { compare, faults } from './comparison.ts';
import { until } from './condition.ts';
import { ControlGroup } from './control-group.ts';
import { parseRow, type Row } from './event-files.ts';
import { RunningAgent } from './running-agent.ts';
import { programPath, runTruth } from './truth-program.ts';
import { unseenActs } from './unseen.ts';
import { fillForExec, makeWorkDir, removeWorkDir } from './work-dir.ts';

const LINE_MAX = 8192;

let agent: RunningAgent;

beforeAll(async () => {
  agent = await RunningAgent.start({ keepStdout: true });
});

afterAll(async () => {
  await agent?.stop();
  agent?.clean();
});

/** DEL, C1, and what turns text round: nothing of it may reach a terminal. */
const UNSAFE = /[\u007f-\u009f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]/u;

function stdoutLines(): Buffer[] {
  const bytes = Buffer.concat(agent.stdout);
  const lines: Buffer[] = [];
  for (let at = 0, end = bytes.indexOf(10); end >= 0; at = end + 1, end = bytes.indexOf(10, at)) {
    lines.push(bytes.subarray(at, end));
  }
  return lines;
}

test('hostile arguments, names and paths: one event an act, right states, and lines that cannot lie', async () => {
  const groups: ControlGroup[] = [];
  const wrong: string[] = [];
  const told: Row[] = [];
  try {
    for (const program of ['exec', 'failing', 'path', 'mount', 'open']) {
      const dir = makeWorkDir();
      const group = ControlGroup.host(`hostile-${program}`);
      groups.push(group);
      try {
        if (program === 'exec') fillForExec(dir);
        const { acts } = await runTruth(group, program, { args: [dir] });
        await agent.settle();
        const rows = agent.of(group);
        told.push(...rows);
        const context = { group, exe: programPath(program), entry: 'host', unseen: unseenActs(program) };
        wrong.push(...faults(compare(acts, rows, context)).map((fault) => `${program}: ${fault}`));
      } finally {
        removeWorkDir(dir);
      }
    }
    // In the kernel the rest of the machine may lose something (a call that was under way at the start); past it nobody.
    const lost = agent.rows().filter((row) => row['kind'] === 'kerntap.loss' && row['loss_stage'] !== 'kernel');
    expect(lost).toEqual([]);

    // Each is on stdout too, or among the lines that the tail says it dropped because this reader was slow.
    const ids = told.map((row) => String(row['event_id']));
    const left = () => {
      const seen = new Set(stdoutLines().map((line) => /"event_id":"([^"]+)"/.exec(line.toString('latin1'))?.[1]));
      return ids.filter((id) => !seen.has(id)).length;
    };
    const dropped = () =>
      stdoutLines()
        .map((line) => /^\{"kind":"kerntap.tail_dropped","count":(\d+)\}$/.exec(line.toString('latin1'))?.[1])
        .reduce((sum, count) => sum + Number(count ?? 0), 0);
    await until(
      () => `${ids.length} events: ${left()} are not on stdout, ${dropped()} said to be dropped`,
      () => left() <= dropped(),
    );
    expect(left()).toBeLessThan(ids.length / 2);
    for (const line of stdoutLines()) {
      expect(line.length + 1).toBeLessThan(LINE_MAX);
      expect(line.every((byte) => byte >= 0x20)).toBe(true);
      const text = new TextDecoder('utf-8', { fatal: true }).decode(line);
      expect(UNSAFE.test(text)).toBe(false);
      expect(parseRow(text)['kind']).toMatch(/^[a-z]+\.[a-z_]+$/);
    }
    expect(wrong).toEqual([]);
  } finally {
    for (const group of groups) group.remove();
  }
});
