import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { until } from './condition.ts';
import { ControlGroup } from './control-group.ts';
import { Dialogue } from './dialogue.ts';
import type { Row } from './event-files.ts';
import { NetworkNamespace } from './network-namespace.ts';
import { RunningAgent } from './running-agent.ts';
import { type Closing, StateTrace } from './state-trace.ts';
import { type Act, buildTruth } from './truth-program.ts';

const CPU = 0;
const OTHER_CPU = 1;
const VICTIM_IP = '10.98.0.1';
const REMOTE_IP = '10.98.0.2';
const NOBODY_IP = '10.98.0.9';
const PORT = 7000;
const CLOSED_PORT = 7001;
const VICTIM_PORT = 7002;
const EACH = 20;

const groups = {
  stranger: ControlGroup.container(),
  victim: ControlGroup.container(),
  remote: ControlGroup.container(),
};
let victimNet: NetworkNamespace;
let remoteNet: NetworkNamespace;
let trace: StateTrace;
let stranger: Dialogue;
let victim: Dialogue;
let remote: Dialogue;
let agent: RunningAgent;
/** Local ports of the victim's connections that are older than the agent. */
let old: Act[];
/** Ends of the victim's connections at which the stranger was the running task. */
let interrupted = 0;

beforeAll(async () => {
  buildTruth();
  victimNet = new NetworkNamespace();
  remoteNet = new NetworkNamespace();
  victimNet.connect(remoteNet, 'veth', `${VICTIM_IP}/24`, 'veth', `${REMOTE_IP}/24`);
  victimNet.steer('veth', CPU);
  victimNet.write('/proc/sys/net/ipv4/tcp_syn_retries', '1');
  victimNet.ip('neigh', 'add', NOBODY_IP, 'lladdr', '02:00:00:00:00:01', 'dev', 'veth', 'nud', 'permanent');
  trace = new StateTrace();
  remote = await Dialogue.start(
    groups.remote,
    'stranger',
    { args: ['remote', REMOTE_IP, String(PORT)], cpu: OTHER_CPU, netns: remoteNet.file },
    'listening',
  );
  victim = await Dialogue.start(groups.victim, 'stranger', { args: ['victim'], cpu: CPU, netns: victimNet.file });
  old = (await victim.tell(`connect ${REMOTE_IP} ${PORT} ${EACH}`, 'all-connected')).filter(
    (act) => act.act === 'connected',
  );
  await until('the remote ends', () => remote.acts.filter((act) => act.act === 'accepted').length === EACH);
  agent = await RunningAgent.start();
  stranger = await Dialogue.start(groups.stranger, 'stranger', { args: ['busy'], cpu: CPU }, 'spinning');
}, 60_000);

afterAll(async () => {
  for (const dialogue of [stranger, victim, remote]) await dialogue?.end();
  await agent?.stop();
  agent?.clean();
  trace?.remove();
  victimNet?.remove();
  remoteNet?.remove();
  for (const group of Object.values(groups)) group.remove();
});

/** Does `cause` while the victim is off its CPU, until so many more of its sockets closed; gives those that interrupted
 * the stranger or the kernel's own threads. */
async function whileOffCpu(count: number, cause: () => Promise<unknown> | unknown): Promise<Closing[]> {
  const before = trace.closings(VICTIM_IP).length;
  victim.stop();
  await cause();
  await until(
    () => `${count} closings; so far ${trace.closings(VICTIM_IP).length - before}`,
    () => trace.closings(VICTIM_IP).length - before >= count,
    20_000,
  );
  victim.resume();
  const closings = trace.closings(VICTIM_IP).slice(before);
  interrupted += closings.filter((closing) => closing.currentPid === stranger.pid).length;
  return closings.filter(({ currentPid }) => currentPid === stranger.pid || isKernel(currentPid));
}

function commOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/comm`, 'utf8');
  } catch {
    return '';
  }
}

/** The idle task, or the thread that takes over interrupts when they are many. */
function isKernel(pid: number): boolean {
  return pid === 0 || commOf(pid).startsWith('ksoftirqd/');
}

/** One at a time: the closings are spread over moments at which one or another task runs. */
async function resetEach(): Promise<void> {
  for (let i = 0; i < EACH; i++) await remote.tell('reset', 'was-reset');
}

/** Begins connects one at a time: their timers expire one at a time. */
async function beginEach(ip: string, port: number): Promise<Act[]> {
  const began: Act[] = [];
  for (let i = 0; i < EACH; i++) began.push(...(await victim.tell(`begin ${ip} ${port} 1`, 'all-began')));
  return began.filter((act) => act.act === 'began');
}

/**
 * The victim's rows of a kind at these ends: one an end at most, all naming the victim. Gives those of ends that
 * interrupted the stranger: none may be missing. (On some machines tracing programs do not run while certain tasks are
 * current; an end that interrupted such a task has no row, or an incomplete one.)
 */
async function rowsAt(kind: string, ends: readonly Act[], interrupting: readonly Closing[]): Promise<Row[]> {
  const wanted = new Set(ends.map((act) => `${act['local_port']} ${act['remote_port']}`));
  await agent.settle();
  const find = () =>
    agent
      .rows()
      .filter((row) => row['kind'] === kind && row['existing'] === false)
      .filter((row) => row['network_local_address'] === VICTIM_IP)
      .filter((row) => wanted.has(`${row['network_local_port']} ${row['network_peer_port']}`));
  const endOf = (row: Row) => `${row['network_local_port']} ${row['network_peer_port']}`;
  const needed = interrupting
    .map((closing) => `${closing.localPort} ${closing.peerPort}`)
    .filter((end) => wanted.has(end));
  const missing = () => {
    const found = new Set(find().map(endOf));
    return needed.filter((end) => !found.has(end));
  };
  await until(
    () => `rows of ${kind} for ${missing().join(', ')}`,
    () => missing().length === 0,
  );
  const rows = find();
  expect(new Set(rows.map(endOf)).size, 'one row an end').toBe(rows.length);
  expectVictim(rows);
  return rows.filter((row) => needed.includes(endOf(row)));
}

function expectVictim(rows: readonly Row[]): void {
  for (const row of rows) {
    expect(row).toMatchObject({ cgroup_id: groups.victim.id, container_id: groups.victim.containerId });
    if (row['actor'] === 'cgroup_only') expect(row['process_pid']).toBeNull();
    else expect(row['process_pid']).toBe(victim.pid);
  }
}

function expectEach(rows: readonly Row[], column: string, value: string): void {
  for (const row of rows) expect(row[column]).toBe(value);
}

test('a reset connection that is older than the agent', async () => {
  const closings = await whileOffCpu(EACH, resetEach);
  await victim.tell('drop', 'all-dropped');
  const rows = await rowsAt('socket.close', old, closings);
  expectEach(rows, 'network_ended_by', 'remote_reset');
});

test('connects that do not block and are refused', async () => {
  // Refused only once the victim is off its CPU: until then no answer comes, and the SYNs are repeated.
  remoteNet.ip('route', 'add', 'blackhole', `${VICTIM_IP}/32`);
  const refused = await beginEach(REMOTE_IP, CLOSED_PORT);
  const closings = await whileOffCpu(EACH, () => remoteNet.ip('route', 'del', 'blackhole', `${VICTIM_IP}/32`));
  const results = await victim.tell('results', 'all-results');
  const said = new Map(results.map((act) => [act['local_port'], act['result']]));
  const rows = await rowsAt('socket.connect', refused, closings);
  for (const row of rows) expect(row['result']).toBe(said.get(row['network_local_port']));
});

test('connects that time out', async () => {
  const began = await beginEach(NOBODY_IP, PORT);
  const closings = await whileOffCpu(EACH, () => {});
  await victim.tell('results', 'all-results');
  const rows = await rowsAt('socket.connect', began, closings);
  expectEach(rows, 'error', 'ETIMEDOUT');
});

test('connections inherited from a listener: accepted ones, and ones that nobody accepted yet', async () => {
  await victim.tell(`listen ${VICTIM_IP} ${VICTIM_PORT}`, 'listening');
  const called = (await remote.tell(`call ${VICTIM_IP} ${VICTIM_PORT} ${EACH}`, 'all-connected')).filter(
    (act) => act.act === 'connected',
  );
  const accepted = (await victim.tell(`accept ${EACH / 2}`, 'all-accepted')).filter((act) => act.act === 'accepted');
  expect(accepted.length).toBe(EACH / 2);
  const closings = await whileOffCpu(EACH, resetEach);
  await victim.tell('drop', 'all-dropped');
  const rows = await rowsAt('socket.close', accepted, closings);
  expectEach(rows, 'network_ended_by', 'remote_reset');
  // What nobody accepted was in nobody's hands: there is nobody to name, and no event.
  const taken = new Set(accepted.map((act) => act['remote_port']));
  const left = called.map((act) => act['local_port']).filter((port) => !taken.has(port));
  expect(left.length).toBe(EACH / 2);
  const atLeft = agent
    .rows()
    .filter((row) => row['network_local_port'] === VICTIM_PORT && left.includes(row['network_peer_port']));
  expect(atLeft).toEqual([]);
});

test('connections whose peer is gone, ended by the retransmission timer', async () => {
  const connected = (await victim.tell(`connect ${REMOTE_IP} ${PORT} ${EACH}`, 'all-connected')).filter(
    (act) => act.act === 'connected',
  );
  remoteNet.ip('route', 'add', 'blackhole', `${VICTIM_IP}/32`);
  for (let i = 0; i < EACH; i++) await victim.tell(`send ${i} 600`, 'sent');
  const closings = await whileOffCpu(EACH, () => {});
  await victim.tell('drop', 'all-dropped');
  const rows = await rowsAt('socket.close', connected, closings);
  expectEach(rows, 'network_ended_by', 'timeout');
  expectEach(rows, 'error', 'ETIMEDOUT');
});

test('the stranger, which made no socket, has no socket event; each other row names its own side', async () => {
  const rows = (await agent.settle()).filter((row) => String(row['kind']).startsWith('socket.'));
  const blamed = rows.filter((row) => row['process_pid'] === stranger.pid || row['cgroup_id'] === groups.stranger.id);
  expect(blamed).toEqual([]);
  expect(interrupted, 'the case was there').toBeGreaterThan(0);
  const sides = new Map([
    [VICTIM_IP, groups.victim.id],
    [REMOTE_IP, groups.remote.id],
  ]);
  for (const row of rows) {
    const side = sides.get(String(row['network_local_address']));
    if (side !== undefined) expect(row['cgroup_id']).toBe(side);
  }
});
