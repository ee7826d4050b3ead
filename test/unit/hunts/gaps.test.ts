import { afterEach, beforeEach, expect, test } from 'vitest';
import { SimulatedLake } from './simulated-lake.ts';
import type { SimulatedNode } from './simulated-node.ts';

let lake: SimulatedLake;

beforeEach(async () => {
  lake = await SimulatedLake.start(2);
});
afterEach(() => lake.remove());

const GAPS = `SELECT k8s_node_name AS node, first_seq, last_seq, missing, run_missing, run_accounted, unexplained
  FROM gaps ORDER BY node, first_seq`;

function some(node: SimulatedNode, events: number): SimulatedNode {
  for (let i = 0; i < events; i++) node.exec(i, null, ['/bin/true']);
  return node;
}

async function query(sql: string) {
  return (await lake.open()).query(sql);
}

test('a run whose events are all there has none, though they came twice and to two collectors', async () => {
  const one = lake.node('node-a', { replica: 0 });
  await some(one, 3).send({ twice: true });
  some(one, 2).lose(); // what the other collector took
  await some(one, 4).send();
  const two = lake.node('node-a', { replica: 1 });
  some(two, 3).lose();
  await some(two, 2).send();
  expect(await query(GAPS)).toEqual([]);
});

test('what no collector has is a gap, with when it was and which files are before and after it', async () => {
  const one = lake.node('node-a', { replica: 0 });
  const two = lake.node('node-a', { replica: 1 });
  some(one, 2).lose();
  await some(one, 3).send();
  some(two, 10).lose();
  await some(two, 1).send();
  const opened = await lake.open();
  expect(await opened.query(GAPS)).toEqual([
    { node: 'node-a', first_seq: 1n, last_seq: 2n, missing: 2n, run_missing: 7n, run_accounted: 0n, unexplained: 7n },
    { node: 'node-a', first_seq: 6n, last_seq: 10n, missing: 5n, run_missing: 7n, run_accounted: 0n, unexplained: 7n },
  ]);
  const hint = `SELECT regexp_extract(before_file, 'replica-\\d') AS before, regexp_extract(after_file, 'replica-\\d') AS after,
    CAST(before_time AS VARCHAR) AS since, CAST(after_time AS VARCHAR) AS until FROM gaps ORDER BY first_seq`;
  expect(await opened.query(hint)).toEqual([
    { before: null, after: 'replica-0', since: null, until: '2026-11-22 07:30:00' },
    { before: 'replica-0', after: 'replica-1', since: '2026-11-22 07:30:00.002', until: '2026-11-22 07:30:00' },
  ]);
});

test("is accounted for by the run's own loss rows, whose totals only grow, and only by losses of numbered events", async () => {
  const node = lake.node('node-a');
  const loss = (stage: string, reason: string, count: bigint, total: bigint) => ({
    loss: { stage, reason, kind: 'process.exec', count, total },
  });
  await some(node, 1).send();
  some(node, 5).lose();
  node.event(10, null, loss('queue', 'queue full', 3n, 3n)).event(11, null, loss('kernel', 'ring full', 100n, 100n));
  await node.send();
  some(node, 2).lose();
  node
    .event(20, null, loss('queue', 'queue full', 2n, 5n))
    .event(21, null, loss('collector', 'row above 1 MiB', 1n, 1n));
  await node.send();
  const other = lake.node('node-b');
  other.event(0, null, loss('queue', 'queue full', 50n, 50n));
  await other.send();
  const opened = await lake.open();
  expect(await opened.query(GAPS)).toEqual([
    { node: 'node-a', first_seq: 2n, last_seq: 6n, missing: 5n, run_missing: 7n, run_accounted: 6n, unexplained: 1n },
    { node: 'node-a', first_seq: 9n, last_seq: 10n, missing: 2n, run_missing: 7n, run_accounted: 6n, unexplained: 1n },
  ]);
  expect(
    await opened.query(
      "SELECT loss_stage AS stage, total FROM losses WHERE k8s_node_name = 'node-a' ORDER BY loss_stage",
    ),
  ).toEqual([
    { stage: 'collector', total: 1n },
    { stage: 'kernel', total: 100n },
    { stage: 'queue', total: 5n },
  ]);
});

test('of a run that was killed are told by the next one, with the numbers behind its last event', async () => {
  const killed = lake.node('node-a', { run: 1 });
  const next = lake.node('node-a', { run: 2 });
  await some(killed, 3).send();
  some(killed, 2).lose();
  await some(killed, 1).send();
  const ofRunId = killed.run;
  next.event(10, null, {
    loss: { stage: 'spool', reason: 'evicted', count: 2n, total: 2n, ofRunId, firstSeq: 4n, lastSeq: 5n },
  });
  next.event(11, null, {
    loss: { stage: 'run', reason: 'killed', count: 4n, total: 4n, ofRunId, firstSeq: 7n, lastSeq: 10n },
  });
  next.event(12, null, {
    loss: { stage: 'run', reason: 'blind', ofRunId, blindNs: 5_000_000_000n, unaccountable: true },
  });
  await next.send();
  const opened = await lake.open();
  expect(
    await opened.query(
      'SELECT agent_run_id AS run, first_seq, last_seq, reasons, unexplained FROM gaps ORDER BY first_seq',
    ),
  ).toEqual([
    { run: killed.runId, first_seq: 4n, last_seq: 5n, reasons: 'spool evicted', unexplained: 0n },
    { run: killed.runId, first_seq: 7n, last_seq: 10n, reasons: 'run killed', unexplained: 0n },
  ]);
  expect(
    await opened.query("SELECT agent_run_id AS run, blind_ns, lower_bound FROM losses WHERE loss_reason = 'blind'"),
  ).toEqual([{ run: killed.runId, blind_ns: 5_000_000_000n, lower_bound: true }]);
});

test("of an agent's next run are its own", async () => {
  const first = lake.node('node-a', { run: 1 });
  const second = lake.node('node-a', { run: 2 });
  await some(first, 3).send();
  some(second, 3).lose();
  await some(second, 1).send();
  expect(await query(`SELECT agent_run_id AS run, first_seq, last_seq FROM gaps`)).toEqual([
    { run: second.runId, first_seq: 1n, last_seq: 3n },
  ]);
});
