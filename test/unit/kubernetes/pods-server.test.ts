import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { Client, credentials, Metadata, type ServiceError, status } from '@grpc/grpc-js';
import { afterEach, describe, expect, it } from 'vitest';
import { KubeletSource } from '../../../src/kubernetes/kubelet.ts';
import { messageType, type V1Pod, v1Pod } from '../../core-v1.ts';
import { type PodsServer, SOCKET_NAME, startPodsServer } from '../../pods-server.ts';

/** The server that other tests take for a kubelet: what it says is read here by other means than theirs. */
const open: { close(): unknown }[] = [];
afterEach(async () => {
  for (const thing of open.splice(0).reverse()) await thing.close();
});

async function start(): Promise<PodsServer> {
  const server = await startPodsServer();
  open.push(server);
  return server;
}

const raw = (bytes: Buffer) => bytes;

function client(server: PodsServer): Client {
  const made = new Client(`unix:${join(server.podsApiDir, SOCKET_NAME)}`, credentials.createInsecure(), {
    'grpc.max_receive_message_length': 64 << 20,
  });
  open.push(made);
  return made;
}

function call(server: PodsServer, name: string, request: object = {}): Promise<Record<string, unknown>> {
  const bytes = Buffer.from(messageType(`${name}Request`).encode(request).finish());
  return new Promise((resolve, reject) => {
    client(server).makeUnaryRequest(`/v1alpha1.Pods/${name}`, raw, raw, bytes, new Metadata(), (error, reply) => {
      if (error) reject(error);
      else resolve(messageType(`${name}Response`).toObject(messageType(`${name}Response`).decode(reply as Buffer)));
    });
  });
}

interface Watch {
  readonly events: { type: number; name: string | undefined; keys: string[] }[];
  readonly end: Promise<ServiceError>;
  until(done: () => boolean): Promise<void>;
}

function watch(server: PodsServer): Watch {
  const events: Watch['events'] = [];
  const stream = client(server).makeServerStreamRequest('/v1alpha1.Pods/WatchPods', raw, raw, Buffer.alloc(0));
  stream.on('data', (bytes: Buffer) => {
    const { type, pod } = messageType('WatchPodsEvent').toObject(messageType('WatchPodsEvent').decode(bytes));
    const said = pod === undefined ? {} : messageType('Pod').toObject(messageType('Pod').decode(pod));
    events.push({ type, name: said['metadata']?.name, keys: Object.keys(said['metadata'] ?? {}) });
  });
  const end = new Promise<ServiceError>((resolve) => stream.on('error', (error) => resolve(error as ServiceError)));
  const until = (done: () => boolean) => expect.poll(done, { timeout: 5000 }).toBe(true);
  return { events, end, until };
}

describe('a stand-in for the kubelet', () => {
  it('says the same pods both ways', async () => {
    const server = await start();
    const pod = server.addPod(v1Pod({ name: 'web', containers: [{ name: 'main', id: 'a'.repeat(64) }] }));
    const source = new KubeletSource({ url: server.url, tokenFile: server.tokenFile, caFile: server.caFile });
    open.push(source);
    const [read] = await source.refresh('test');
    expect(read).toMatchObject({ uid: pod.metadata.uid, name: 'web', labels: { app: 'web' } });
    const { pods } = (await call(server, 'ListPods')) as { pods: Buffer[] };
    expect(
      messageType('Pod')
        .decode(pods[0] as Buffer)
        .toJSON(),
    ).toMatchObject({
      metadata: {
        name: 'web',
        uid: pod.metadata.uid,
        labels: { app: 'web' },
        creationTimestamp: { seconds: '1795334143' },
      },
      spec: { containers: [{ name: 'main', image: 'docker.io/library/web:1' }] },
      status: { containerStatuses: [{ name: 'main', containerID: `containerd://${'a'.repeat(64)}` }] },
    });
    expect(await call(server, 'GetPod', { podUID: pod.metadata.uid })).toHaveProperty('pod');
    await expect(call(server, 'GetPod', { podUID: 'no' })).rejects.toMatchObject({ code: status.NOT_FOUND });
  });

  it('tells those who watch what a kubelet tells them', async () => {
    const server = await start();
    const old = server.addPod(v1Pod({ name: 'old' }));
    const { events, until } = watch(server);
    await until(() => events.length === 2);
    server.addPod(v1Pod({ name: 'new' }));
    server.addPod(v1Pod({ name: 'dropped' }), { silent: true });
    server.updatePod(old.metadata.uid, { metadata: { labels: { app: 'other' } } as unknown as V1Pod['metadata'] });
    server.updatePod(old.metadata.uid, { status: { phase: 'Succeeded' } });
    server.removePod(old.metadata.uid);
    await until(() => events.length === 5);
    expect(events.map(({ type, name }) => [type, name])).toEqual([
      [1, 'old'],
      [4, undefined],
      [1, 'new'],
      [2, 'old'],
      [3, 'old'],
    ]);
    expect(events[4]?.keys.sort()).toEqual(['name', 'namespace', 'uid']);
  });

  it('fails as it is told to', async () => {
    const server = await start();
    const first = watch(server);
    await first.until(() => first.events.length === 1);
    server.dropWatchers();
    expect(await first.end).toMatchObject({ code: status.RESOURCE_EXHAUSTED });
    server.faults.podsApi = 'not-ready';
    expect(await watch(server).end).toMatchObject({ code: status.FAILED_PRECONDITION });
    server.faults.podsApi = 'none';
    const second = watch(server);
    await second.until(() => second.events.length === 1);
    await server.replaceSocket();
    expect(await second.end).toMatchObject({ code: expect.any(Number) });
    const third = watch(server);
    await third.until(() => third.events.length === 1);
    await server.stopPodsApi();
    expect(existsSync(join(server.podsApiDir, SOCKET_NAME))).toBe(false);
  });
});
