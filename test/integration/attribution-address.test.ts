/** The address that was asked for and the one that was reached, where the kernel is told to connect elsewhere. */
import { type ChildProcess, spawn } from 'node:child_process';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { BriefContainer, BriefTruth } from './brief-container.ts';
import { until } from './condition.ts';
import { CGROUP_ROOT, PODS } from './control-group.ts';
import type { Row } from './event-files.ts';
import { KubeletNode } from './kubelet-node.ts';
import { PodObject } from './pod-objects.ts';
import { RunningAgent } from './running-agent.ts';
import { type Act, programPath } from './truth-program.ts';

/** Nobody's: what a Service has in a cluster whose CNI rewrites addresses before the SYN. */
const SERVICE_IP = '10.96.77.10';
const SERVICE_PORT = 80;

let node: KubeletNode;
let agent: RunningAgent;

beforeAll(async () => {
  node = await KubeletNode.open();
  agent = await RunningAgent.start({ flags: node.flags });
});

afterAll(async () => {
  await agent?.stop();
  agent?.clean();
  await node?.close();
});

/** Whoever in this container asks for the Service reaches 127.0.0.1:port, until `end` is called. */
async function rewritten(container: BriefContainer, port: number): Promise<{ end(): Promise<unknown> }> {
  const dir = join(CGROUP_ROOT, PODS, `pod${container.podUid}`, container.id);
  const args = [dir, SERVICE_IP, String(SERVICE_PORT), '127.0.0.1', String(port)];
  const child: ChildProcess = spawn(programPath('rewrite'), args, { stdio: ['pipe', 'pipe', 'inherit'] });
  const closed = new Promise((resolve) => child.on('close', resolve));
  await new Promise<void>((resolve, reject) => {
    child.stdout?.once('data', () => resolve());
    child.once('close', (code) => reject(new Error(`the rewriter ended with ${code}`)));
  });
  return {
    end: () => {
      child.stdin?.end();
      return closed;
    },
  };
}

function rowsOf(truth: BriefTruth, kind: string): Row[] {
  return agent.rows().filter((row) => row['kind'] === kind && row['container_id'] === truth.containerId);
}

/** A pod that asks for the Service, which is at `port` of this host. */
async function ask(port: number): Promise<{ truth: BriefTruth; connect: Act }> {
  const pod = node.admit(new PodObject());
  const asking = node.start(pod, { part: 'wait', ip: SERVICE_IP, port: SERVICE_PORT });
  await asking.ready;
  const rewriter = await rewritten(asking, port);
  asking.go();
  const truth = await asking.ended;
  await rewriter.end();
  await agent.settle();
  // A row of each kind, in files of their own.
  await until('its events', () => ['process.exit', 'socket.connect'].every((kind) => rowsOf(truth, kind).length > 0));
  const connect = truth.acts.at(-1) as Act;
  return { truth, connect };
}

it('a connection keeps both, at its beginning and at its end; the other end sees what was reached', async () => {
  const server = node.admit(new PodObject());
  const serving = node.start(server, { part: 'serve' });
  const port = await serving.ready;
  const { truth, connect } = await ask(port);
  const served = await serving.ended;
  await agent.settle();
  // What the process itself sees of it: getpeername(2) is rewritten back by nobody here.
  expect(connect).toMatchObject({ result: 0, asked_ip: SERVICE_IP, remote_ip: '127.0.0.1', remote_port: port });
  const both = {
    network_asked_address: SERVICE_IP,
    network_asked_port: SERVICE_PORT,
    network_peer_address: '127.0.0.1',
    network_peer_port: port,
    network_local_port: connect['local_port'],
    k8s_pod_uid: truth.podUid,
  };
  expect(rowsOf(truth, 'socket.connect')).toMatchObject([{ ...both, result: 0 }]);
  await until('both ends of it', () => rowsOf(truth, 'socket.close')[0] && rowsOf(served, 'socket.accept')[0]);
  expect(rowsOf(truth, 'socket.close')).toMatchObject([both]);
  expect(rowsOf(served, 'socket.accept')).toMatchObject([
    {
      k8s_pod_uid: server.uid,
      network_local_address: '127.0.0.1',
      network_local_port: port,
      network_peer_address: connect['local_ip'],
      network_peer_port: connect['local_port'],
    },
  ]);
});

it('a refused connection says what was asked for and what was tried', async () => {
  const { truth, connect } = await ask(9);
  expect(connect).toMatchObject({ result: -111, asked_ip: SERVICE_IP });
  expect(rowsOf(truth, 'socket.connect')).toMatchObject([
    {
      network_asked_address: SERVICE_IP,
      network_asked_port: SERVICE_PORT,
      network_peer_address: '127.0.0.1',
      network_peer_port: 9,
      result: -111,
    },
  ]);
});
