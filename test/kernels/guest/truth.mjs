// truth.mjs SETTINGS PROGRAM...: runs the agent with everything on and its own collector, then programs of test/truth one
// after the other, and prints one line of JSON for each thing: {act} as a program said it, {row} as the collector wrote
// it for a process of these programs, {ledger} as the agent left it, {doctor} with what the doctor says there.
// SETTINGS is JSON: {paranoid: value of kernel.perf_event_paranoid, caps: what the agent and the doctor may do, commands:
// arguments of kerntap that are tried first, told as {ran: {code, stdout}}}.
import { spawn, spawnSync } from 'node:child_process';
import { mkdirSync, openSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

const [settings = '{}', ...programs] = process.argv.slice(2);
const { paranoid, caps, commands = [] } = JSON.parse(settings);
const main = '/kerntap/dist/src/cli/main.js';
const events = '/tmp/events';
const logFile = '/tmp/agent.log';
const log = () => readFileSync(logFile, 'utf8');
const tell = (thing) => console.log(JSON.stringify(thing));

writeFileSync('/proc/sys/kernel/perf_event_paranoid', String(paranoid));
const confined = (...argv) => ['with-caps', [caps, 'node', main, ...argv]];

for (const command of commands) {
  const { status, stdout } = spawnSync('node', [main, ...command], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  tell({ ran: { code: status, stdout } });
}

const doctor = spawnSync(...confined('doctor', '--json'), { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] });
tell({ doctor: { code: doctor.status, ...JSON.parse(doctor.stdout || '{}') } });

const flags = ['agent', '--standalone', '--all', '--tail', 'off', '--out', events];
const agent = spawn(...confined(...flags), { stdio: ['ignore', 'ignore', openSync(logFile, 'w')] });
const ended = new Promise((resolve) => agent.once('close', resolve));
const deadline = performance.now() + 90_000;
while (!log().includes('watching this host')) {
  if (agent.exitCode !== null || performance.now() > deadline) {
    console.error(log());
    process.exit(3);
  }
  await delay(100);
}

const pids = new Set();
for (const program of programs) {
  const dir = `/tmp/work-${program}`;
  mkdirSync(dir);
  const { stdout, status } = spawnSync(`/kerntap/truth/${program}`, [dir], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  if (status !== 0) {
    console.error(`${program} ended with ${status}`);
    process.exit(4);
  }
  for (const line of stdout.trimEnd().split('\n')) {
    const act = JSON.parse(line);
    pids.add(act.pid);
    tell({ program, act });
  }
}

agent.kill('SIGTERM');
const code = await ended;
if (code !== 0) console.error(log());
for (const line of log().split('\n')) if (line.includes('"ledger"')) tell({ ledger: JSON.parse(line).ledger });
for (const name of readdirSync(events, { recursive: true })) {
  // .tmp: not complete yet, its last line may be cut
  if (!/\.ndjson(\.tmp)?$/.test(name)) continue;
  for (const line of readFileSync(join(events, name), 'utf8').split('\n').slice(0, -1)) {
    // as it stands there: times have more digits than a number holds
    if (pids.has(JSON.parse(line).process_pid)) console.log(`{"row":${line}}`);
  }
}
// not process.exit(): what the pipe has not taken yet would be lost
process.exitCode = code;
