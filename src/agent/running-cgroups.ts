/** What runs before the agent does: control groups and their containers, as the kernel's tracker and the table learn them. */
import type { Logger } from 'pino';
import type { KernelTap } from '../kernel/tap.ts';
import { firstProcess } from '../kubernetes/first-process.ts';
import type { WorkloadTable } from '../kubernetes/table.ts';
import { containerTgids, walkCgroups } from '../kubernetes/walk.ts';

export interface RunningCgroupsParts {
  readonly cgroupDir: string;
  readonly procDir: string;
  readonly tap: Pick<KernelTap, 'setCgroup' | 'markInit'>;
  readonly workloads: WorkloadTable;
  /** A control group that has no policy yet. */
  readonly consider: (cgroupId: bigint) => void;
  readonly log: Logger;
}

export class RunningCgroups {
  readonly #parts: RunningCgroupsParts;

  constructor(parts: RunningCgroupsParts) {
    this.#parts = parts;
  }

  /** Returns how many control groups there are. */
  walk(): number {
    const { cgroupDir, tap, workloads, consider, log } = this.#parts;
    const { cgroups, skipped } = walkCgroups(cgroupDir);
    for (const { id, rootId } of cgroups) tap.setCgroup(id, rootId);
    if (skipped > 0) workloads.addFound(cgroups);
    else workloads.takeWalk(cgroups);
    for (const { id } of cgroups) consider(id);
    if (skipped > 0) log.warn({ skipped }, 'cgroups were left out: their events carry no container');
    return cgroups.length;
  }

  /** Containers: the first process of each is the one whose descendants are `entry: init`. Returns how many. */
  markInits(): number {
    const { cgroupDir, procDir, tap } = this.#parts;
    let containers = 0;
    for (const { id, rootId, path } of walkCgroups(cgroupDir).cgroups) {
      if (rootId === 0n || rootId !== id) continue;
      const process = firstProcess(containerTgids(cgroupDir, path), procDir);
      if (process !== undefined) tap.markInit({ ...process, rootId });
      containers++;
    }
    return containers;
  }
}
