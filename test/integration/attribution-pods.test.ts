/** Pods of every make, one after another and beside each other: whose event is it? */
import { randomBytes, randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { PodRecords } from './attribution.ts';
import type { BriefTruth } from './brief-container.ts';
import { until } from './condition.ts';
import type { Row } from './event-files.ts';
import { KubeletNode } from './kubelet-node.ts';
import { NetworkNamespace } from './network-namespace.ts';
import { NAMESPACE, PodObject } from './pod-objects.ts';
import { RunningAgent } from './running-agent.ts';

/** For the hold to end and the kubelet's next look to be read. */
const WHOLE_MS = 20_000;

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

/**
 * Every event of these containers is there, is theirs, left with their pod's name, and reads with their own at last:
 * all but that of `nameless` ones, which the kubelet never told of.
 */
async function expectAttributed(truths: readonly BriefTruth[], nameless: readonly BriefTruth[] = []): Promise<void> {
  await agent.settle();
  const all = () => node.figures(agent.rows(), [...truths, ...nameless]);
  const whole = () => {
    const { problems } = all();
    const { containerNamed, events } = node.figures(agent.rows(), truths);
    return problems.length === 0 && containerNamed === events;
  };
  await until('every event', whole, WHOLE_MS).catch(() => {});
  const { problems, events, placed, named, completed, reasons } = all();
  expect({ problems, placed, named, completed, reasons }).toEqual({
    ...{ problems: [], reasons: {} },
    ...{ placed: events, named: events, completed: events },
  });
  expect(events).toBeGreaterThanOrEqual([...truths, ...nameless].flatMap(({ acts }) => acts).length);
  const { containerNamed, events: ofNamed } = node.figures(agent.rows(), truths);
  expect(containerNamed, 'with their container named').toBe(ofNamed);
}

/** Rows that a container's first program has led to. */
function rowsOf(truth: BriefTruth, kind: string): Row[] {
  return agent.rows().filter((row) => row['kind'] === kind && row['container_id'] === truth.containerId);
}

const told = (uid: string) => agent.rows().filter((row) => row['kind'] === 'kerntap.pod' && row['k8s_pod_uid'] === uid);

function containerTold({ uid }: PodObject, id: string): Promise<boolean> {
  const isTold = (row: Row) => (row['k8s_pod_containers'] as Row[]).some((each) => each['container_id'] === id);
  return until('the container told', () => told(uid).some(isTold));
}

describe('containers of one pod', () => {
  it('one that is started again: each instance has its own id, and both the same name', async () => {
    const pod = node.admit(new PodObject());
    const first = await node.start(pod).ended;
    const second = await node.start(pod).ended;
    expect(first.containerId).not.toBe(second.containerId);
    await expectAttributed([first, second]);
    await until('the second start', () =>
      told(pod.uid).some((row) => (row['k8s_pod_containers'] as Row[])[0]?.['k8s_container_restart_count'] === 1),
    );
  });

  it('one that is started twice while the agent is not told: the one between is not given to another', async () => {
    const pod = node.admit(new PodObject());
    const instances: BriefTruth[] = [];
    for (let i = 0; i < 3; i++) {
      instances.push(await node.start(pod).ended);
      node.relist();
    }
    // A status says the instance that runs and the one before it: of an older one it says nothing.
    const [oldest, ...told] = instances;
    await expectAttributed(told, oldest ? [oldest] : []);
  });

  it('the sandbox, init containers, a sidecar, a main container and one that kubectl debug adds', async () => {
    const pod = node.admit(
      new PodObject({ containers: { first: 'init', second: 'init', beside: 'sidecar', main: 'container' } }),
    );
    const truths = [await node.start(pod, { container: null }).ended];
    for (const container of ['first', 'second', 'beside', 'main']) {
      truths.push(await node.start(pod, { container }).ended);
    }
    pod.add('debugger', 'ephemeral');
    truths.push(await node.start(pod, { container: 'debugger' }).ended);
    await expectAttributed(truths);
    const last = told(pod.uid).at(-1) ?? {};
    const containers = last['k8s_pod_containers'] as Row[];
    expect(Object.fromEntries(containers.map((each) => [each['k8s_container_name'], each['type']]))).toEqual({
      first: 'init',
      second: 'init',
      beside: 'sidecar',
      main: 'container',
      debugger: 'ephemeral',
    });
  });
});

describe('pods that are easily mistaken', () => {
  it('of one name: a StatefulSet brings it back at once, with another UID', async () => {
    const [old, young] = [new PodObject({ name: 'db-0' }), new PodObject({ name: 'db-0', labels: { app: 'young' } })];
    const truths = [await node.run(old)];
    await node.retire(old);
    truths.push(await node.run(young));
    await expectAttributed(truths);
    for (const [truth, pod, app] of [
      [truths[0], old, 'db-0'],
      [truths[1], young, 'young'],
    ] as const) {
      for (const row of rowsOf(truth as BriefTruth, 'process.exec')) {
        expect(row).toMatchObject({ k8s_pod_uid: pod.uid, k8s_pod_name: 'db-0', k8s_pod_labels: { app } });
      }
    }
  });

  it('a static pod is known by the hash in its path, and its mirror is not another pod', async () => {
    const hash = randomBytes(16).toString('hex');
    const name = `etcd-${hash.slice(0, 5)}`;
    const config = { 'kubernetes.io/config.hash': hash, 'kubernetes.io/config.source': 'file' };
    const pod = new PodObject({ uid: hash, name, annotations: config });
    const truths = [await node.run(pod)];
    // The API server's view of it, with a UID of its own.
    const mirror = new PodObject({
      uid: randomUUID(),
      name,
      annotations: { ...config, 'kubernetes.io/config.mirror': hash },
    });
    node.admit(mirror);
    truths.push(await node.start(pod).ended);
    await expectAttributed(truths);
    expect(told(mirror.uid)).toEqual([]);
    for (const row of rowsOf(truths[1] as BriefTruth, 'process.exec')) {
      expect(row).toMatchObject({ k8s_pod_uid: hash, k8s_pod_name: name, k8s_owner_kind: 'Node' });
    }
    node.forget(mirror);
  });

  it('two on the network of their node: both ends of a connection have one address, and each its own pod', async () => {
    const options = { hostNetwork: true, ip: '127.0.0.1' };
    const [server, client] = [node.admit(new PodObject(options)), node.admit(new PodObject(options))];
    const serving = node.start(server, { part: 'serve' });
    const truths = [await node.start(client, { port: await serving.ready }).ended, await serving.ended];
    await expectAttributed(truths);
    const [connect] = rowsOf(truths[0] as BriefTruth, 'socket.connect');
    const [accept] = rowsOf(truths[1] as BriefTruth, 'socket.accept');
    expect(connect).toMatchObject({
      k8s_pod_name: client.name,
      network_local_address: '127.0.0.1',
      network_peer_address: '127.0.0.1',
      network_peer_port: accept?.['network_local_port'],
    });
    expect(accept).toMatchObject({
      k8s_pod_name: server.name,
      network_local_address: '127.0.0.1',
      network_peer_port: connect?.['network_local_port'],
    });
    // The ends of it come in whatever context: they are their owners' all the same.
    expect(rowsOf(truths[0] as BriefTruth, 'socket.close')).toMatchObject([{ k8s_pod_name: client.name }]);
    expect(rowsOf(truths[1] as BriefTruth, 'socket.close')).toMatchObject([{ k8s_pod_name: server.name }]);
  });
});

describe('pods that come and go', () => {
  it('one that is deleted while its last events are on their way keeps its name', async () => {
    const pod = node.admit(new PodObject());
    const container = node.start(pod, { part: 'wait' });
    await container.ready;
    node.relist();
    await containerTold(pod, container.id);
    container.go();
    node.forget(pod);
    // Another pod makes the agent ask, and be told that the first is gone, while that one acts.
    const [last, other] = await Promise.all([container.ended, node.run(new PodObject())]);
    await expectAttributed([last, other]);
  });

  it('one that is gone before its container ends is still known for what follows', async () => {
    const pod = node.admit(new PodObject());
    const container = node.start(pod, { part: 'wait' });
    await container.ready;
    node.relist();
    await containerTold(pod, container.id);
    node.forget(pod);
    await node.run(new PodObject());
    container.go();
    await expectAttributed([await container.ended]);
  });

  it('an address that another pod has a second later: each event is of the pod that acted', async () => {
    const network = new NetworkNamespace();
    const address = '10.244.77.5';
    try {
      network.ip('addr', 'add', `${address}/32`, 'dev', 'lo');
      const here = { netns: network.file, ip: address, port: 9 };
      const [old, young] = [new PodObject({ ip: address }), new PodObject({ ip: address })];
      const truths = [await node.run(old, here)];
      await node.retire(old);
      truths.push(await node.run(young, here));
      await expectAttributed(truths);
      for (const truth of truths) {
        expect(rowsOf(truth, 'socket.connect')).toMatchObject([{ network_local_address: address, result: -111 }]);
      }
      // What a view of addresses over time is made of.
      const gone = await until('the first one gone', () => told(old.uid).find((row) => row['pod_state'] === 'gone'));
      const seen = told(young.uid).find((row) => row['pod_state'] === 'seen');
      expect([gone['k8s_pod_ips'], seen?.['k8s_pod_ips']]).toEqual([[address], [address]]);
      expect(BigInt(String(gone['time_ns'])), 'gone before the next one is seen').toBeLessThanOrEqual(
        BigInt(String(seen?.['time_ns'])),
      );
    } finally {
      network.remove();
    }
  });
});

describe('what is told of pods', () => {
  it('names every container of this node that the kubelet has named', () => {
    const records = new PodRecords(agent.rows());
    const execs = agent
      .rows()
      .filter((row) => row['kind'] === 'process.exec' && row['k8s_namespace_name'] === NAMESPACE);
    expect(execs.length).toBeGreaterThan(20);
    for (const row of execs) expect(records.complete(row)).toMatchObject({ k8s_pod_name: expect.any(String) });
  });
});
