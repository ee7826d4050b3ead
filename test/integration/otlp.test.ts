import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { withoutNulls } from '../rows.ts';
import { compare, faults } from './comparison.ts';
import { until } from './condition.ts';
import { ControlGroup } from './control-group.ts';
import type { Row } from './event-files.ts';
import { OciContainer } from './oci-container.ts';
import { OtlpAgent } from './otlp-agent.ts';
import { OtlpFarEnd } from './otlp-far-end.ts';
import { programPath, runTruth } from './truth-program.ts';
import { unseenActs } from './unseen.ts';
import { fillForExec, makeWorkDir, removeWorkDir } from './work-dir.ts';

describe('beside a collector, to a receiver that is killed and comes back', () => {
  let end: OtlpFarEnd;
  let agent: OtlpAgent;

  beforeAll(async () => {
    end = await OtlpFarEnd.open();
    agent = new OtlpAgent(end);
    await agent.start(['--standalone', '--out', join(agent.dir, 'events')]);
  });
  afterAll(async () => {
    await agent?.stop();
    agent?.clean();
    await end?.close();
  });

  test.each(['exec', 'tcp', 'change', 'close', 'exit'])(
    'each act of %s is told once, every field as it was',
    async (program) => {
      const dir = makeWorkDir();
      const group = ControlGroup.container();
      try {
        if (program === 'exec') fillForExec(dir);
        await end.down();
        const { acts } = await runTruth(group, program, { args: program === 'tcp' ? [] : [dir] });
        await end.up();
        await agent.settle();
        const unseen = unseenActs(program);
        const count = acts.filter((act) => !unseen.has(act.act)).length;
        const ofGroup = (): Row[] => [...agent.rows().values()].filter((row) => row['cgroup_id'] === group.id);
        // As of a connection's end, which may come later than all else.
        await until('the last records', () => ofGroup().length >= count, 5000).catch(() => {});
        const context = { group, exe: programPath(program), entry: 'init', unseen };
        expect(faults(compare(acts, ofGroup(), context))).toEqual([]);
      } finally {
        group.remove();
        removeWorkDir(dir);
      }
    },
  );

  test('a container is a resource, with what is known of it and of its node', async () => {
    const container = OciContainer.start({ args: ['/bin/sh', '-c', 'echo told > /tmp/file; exec sleep 600'] });
    try {
      await end.down();
      container.exec('/bin/busybox', 'cat', '/proc/self/environ');
      await end.up();
      await agent.settle();
      const records = end.receiver.records.filter(({ resource }) => resource['container.id'] === container.id);
      expect(records.map(({ eventName }) => eventName)).toEqual(
        expect.arrayContaining(['kerntap.process.exec', 'kerntap.process.exit', 'kerntap.file.open']),
      );
      for (const { resource } of records) {
        expect(resource).toMatchObject({
          'k8s.pod.uid': container.podUid,
          'kerntap.agent_run_id': expect.stringMatching(/^[0-9a-f]{32}$/),
          'k8s.node.name': expect.any(String),
          'host.name': expect.any(String),
          'kerntap.metadata_state': expect.stringMatching(/^(pending|complete)$/),
        });
      }
      const injected = records.find(
        ({ attributes }) =>
          attributes['kerntap.entry'] === 'exec' && attributes['process.executable.path'] === '/bin/busybox',
      );
      expect(injected?.attributes['process.command_args']).toEqual(['/bin/busybox', 'cat', '/proc/self/environ']);
    } finally {
      container.remove();
    }
  });

  test('at the end both ways had every event, and the books say so', async () => {
    expect(await agent.stop()).toBe(0);
    const files = new Map(agent.files.poll().map((row) => [String(row['event_id']), row]));
    const had = agent.rows();
    expect([...files.keys()].filter((id) => !had.has(id))).toEqual([]);
    expect([...had.keys()].filter((id) => !files.has(id))).toEqual([]);
    for (const [id, row] of had) {
      expect(withoutNulls(row)).toEqual(withoutNulls({ ...files.get(id), ingest_time: null }));
    }
    expect(agent.books().otlp).toEqual({ accepted: files.size, confirmed: files.size, inFlight: 0, lost: [] });
  });
});

describe('instead of a collector', () => {
  let end: OtlpFarEnd;
  let agent: OtlpAgent;

  beforeAll(async () => {
    end = await OtlpFarEnd.open();
    agent = new OtlpAgent(end);
    const token = join(agent.dir, 'token');
    writeFileSync(token, 'Bearer of-the-test\n');
    await agent.start([], `compression: none, headers: [{name: authorization, file: ${token}}]`);
  });
  afterAll(async () => {
    await agent?.stop();
    agent?.clean();
    await end?.close();
  });

  test('an event is delivered when the receiver has it, and the ledger balances by that', async () => {
    await agent.settle();
    expect(await agent.stop()).toBe(0);
    const { otlp, user } = agent.books();
    const had = agent.rows().size;
    expect(otlp).toEqual({ accepted: had, confirmed: had, inFlight: 0, lost: [] });
    expect(user).toMatchObject({ acked: had, inFlight: 0 });
    // A Collector in between does not hand headers on.
    if (end.direct) expect(end.receiver.metadata[0]?.get('authorization')).toEqual(['Bearer of-the-test']);
  });
});
