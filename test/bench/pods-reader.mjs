// The part of an agent that names pods, alone in a process: its sources, its table and, every 15 ms, a timer in the place
// of the drain, whose longest gap is what the drain would have waited. Built code. Reads commands, answers with figures:
//   gc            heap in use, after collection
//   measure MS    CPU time and longest gap over so long a time
//   list          one list by the Pods API, applied as its reconcile does; with the same figures
import { createInterface } from 'node:readline';
import { root } from '../../dist/proto/contract.js';
import { KubeletSource } from '../../dist/src/kubernetes/kubelet.js';
import { podMessage } from '../../dist/src/kubernetes/pods.js';
import { PodsApi } from '../../dist/src/kubernetes/pods-api.js';
import { PodResolver } from '../../dist/src/kubernetes/resolver.js';
import { WorkloadTable } from '../../dist/src/kubernetes/table.js';

const { dir, url, tokenFile, caFile, pollMs } = JSON.parse(process.argv[2]);
const PodType = root.lookupType('kerntap.v1.Pod');
const table = new WorkloadTable();
let told = 0;
let gap = 0;
let last = performance.now();
setInterval(() => {
  const now = performance.now();
  gap = Math.max(gap, now - last);
  last = now;
}, 15);

const podsApi = dir && new PodsApi({ dir, retry: { next: () => 500, reset: () => {} } });
const kubelet = url && new KubeletSource({ url, tokenFile, caFile });
const resolver = new PodResolver({
  podsApi,
  kubelet,
  table,
  slowMs: pollMs,
  fastMs: pollMs,
  takeoverMs: 60_000,
  onPod: ({ state, pod, source }) => {
    told++;
    PodType.encode(podMessage(pod, state, source)).finish();
  },
  onError: (error) => process.stderr.write(`${error.message}\n`),
});
await resolver.start();

async function measured(work) {
  gap = 0;
  last = performance.now();
  const before = process.cpuUsage();
  const toldBefore = told;
  const started = performance.now();
  await work();
  const { user, system } = process.cpuUsage(before);
  // What happened since the timer's last turn counts, too.
  gap = Math.max(gap, performance.now() - last);
  const ms = performance.now() - started;
  return { ms, cpuMs: (user + system) / 1000, gapMs: gap, told: told - toldBefore };
}

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const say = (answer) => process.stdout.write(`${JSON.stringify(answer)}\n`);
const { pods } = resolver.status();
say({ pods });
for await (const line of createInterface({ input: process.stdin })) {
  const [command, argument] = line.split(' ');
  if (command === 'gc') {
    for (let i = 0; i < 4; i++) {
      globalThis.gc();
      await sleep(20);
    }
    say({ heap: process.memoryUsage().heapUsed, pods: resolver.status().pods });
  } else if (command === 'measure') say(await measured(() => sleep(Number(argument))));
  else if (command === 'list') {
    const figures = await measured(async () => {
      const list = await podsApi.list('bench');
      if (list.length === 0) throw new Error('an empty list');
    });
    say({ ...figures, maxRss: process.resourceUsage().maxRSS * 1024, bytes: podsApi.status().lastBytes });
  } else if (command === 'read') {
    const figures = await measured(() => kubelet.refresh('bench'));
    say({ ...figures, maxRss: process.resourceUsage().maxRSS * 1024, bytes: kubelet.status().lastBytes });
  }
}
process.exit(0);
