import { defineConfig } from 'vitest/config';

// The projects differ in what they need: unit nothing, integration this kernel and root, cluster a Kubernetes, kernels QEMU.
const project = (name: string, testTimeout: number, fileParallelism: boolean) => ({
  test: {
    name,
    include: [`test/${name}/**/*.${name === 'bench' ? 'bench' : 'test'}.ts`],
    testTimeout,
    hookTimeout: testTimeout,
    fileParallelism,
    maxWorkers: fileParallelism ? 2 : 1,
    // Not beside others: they count what this machine does, and how long it takes.
    sequence: { groupOrder: fileParallelism ? 0 : 1 },
    // Built code runs as it is shipped: vitest's own transform makes each imported call several times slower.
    server: { deps: { external: [/\/dist\//] } },
  },
});

export default defineConfig({
  test: {
    projects: [
      project('unit', 30_000, true),
      project('integration', 120_000, false),
      project('cluster', 600_000, false),
      project('kernels', 600_000, false),
      project('bench', 1_200_000, false),
    ],
  },
});
