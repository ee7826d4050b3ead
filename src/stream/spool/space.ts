// How much of the disk the spool may take.

import { statfs } from 'node:fs/promises';

export interface SpaceLimits {
  /** Most bytes of all segments; undefined: 1 GiB, but no more than 5 % of the disk. */
  readonly maxBytes: number | undefined;
  /** So much of the disk stays free: the kubelet begins to delete images at 15 %. */
  readonly minFreePercent: number;
}

export interface Space {
  /** Most bytes of all segments. */
  readonly capacityBytes: number;
  /** By so much the disk is below its floor; 0: it is not. */
  readonly shortBytes: number;
  readonly freePercent: number;
}

const DEFAULT_BYTES = 1 << 30;
const DEFAULT_SHARE = 0.05;

/** As it is now. Rejects where the folder cannot be asked. */
export async function readSpace(dir: string, { maxBytes, minFreePercent }: SpaceLimits): Promise<Space> {
  const { bsize, blocks, bavail } = await statfs(dir);
  const disk = bsize * blocks;
  const free = bsize * bavail;
  return {
    capacityBytes: maxBytes ?? Math.min(DEFAULT_BYTES, Math.floor(disk * DEFAULT_SHARE)),
    shortBytes: Math.max(0, Math.ceil((disk * minFreePercent) / 100) - free),
    freePercent: disk === 0 ? 100 : (100 * free) / disk,
  };
}
