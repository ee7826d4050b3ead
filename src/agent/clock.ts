import { readFileSync } from 'node:fs';
import { join } from 'node:path';

/** The clocks that BootClock reads; for tests. */
export interface ClockSources {
  /** CLOCK_MONOTONIC, ns. */
  readonly monotonicNs: () => bigint;
  /** Wall clock, whole ms since 1970. */
  readonly wallMs: () => number;
  /** Boot clock in steps of 10 ms, as /proc/uptime tells it, ns; undefined: not readable. */
  readonly uptimeNs: () => bigint | undefined;
}

const MS = 1_000_000n;
/** /proc/uptime has steps of 10 ms; a difference below two of them is none. */
const UPTIME_SLACK_NS = 20n * MS;
/** The wall clock is read in steps of 1 ms; a drift or step beyond two of them is measured anew. */
const WALL_SLACK_NS = 2n * MS;
/** A move that is told: smaller ones are drift, or a reading that was interrupted. */
const TOLD_NS = 10n * MS;
/** Two readings further apart were interrupted, and are done again, but not for ever: the closest pair counts. */
const APART_NS = 50_000n;
const TRIES = 5;
/** An edge that does not come within so many readings is not waited for. */
const READINGS_MAX = 1_000_000;

/**
 * The kernel's boot clock (CLOCK_BOOTTIME), which stamps every record, and its distance to the wall clock. JavaScript
 * sees neither directly: the boot clock is the monotonic one plus the time that the machine was suspended, and both it
 * and the wall clock are measured at the edge of a coarser clock's step (some 10 us exact).
 */
export class BootClock {
  readonly #sources: ClockSources;
  #suspendedNs = 0n;
  #wallOffsetNs = 0n;
  /** Told of a wall clock that moved by 10 ms or more, with its distance to the boot clock before and after. */
  onStep: ((fromNs: bigint, toNs: bigint) => void) | undefined;

  constructor(sources: ClockSources) {
    this.#sources = sources;
    this.checkSuspend();
    this.#wallOffsetNs = this.#measureWall();
  }

  /** Now, ns of the boot clock. */
  nowNs(): bigint {
    return this.#sources.monotonicNs() + this.#suspendedNs;
  }

  /** Wall clock (since 1970) minus boot clock, ns; measured anew where it moved. */
  wallOffsetNs(): bigint {
    const { monotonicNs, wallMs } = this.#sources;
    // The whole ms is 0 to 1 ms behind.
    const late = this.#wallOffsetNs - (BigInt(wallMs()) * MS - (monotonicNs() + this.#suspendedNs));
    if (late > WALL_SLACK_NS + MS || late < -WALL_SLACK_NS) {
      const before = this.#wallOffsetNs;
      this.#wallOffsetNs = this.#measureWall();
      const moved = this.#wallOffsetNs - before;
      if (moved >= TOLD_NS || moved <= -TOLD_NS) this.onStep?.(before, this.#wallOffsetNs);
    }
    return this.#wallOffsetNs;
  }

  /** Looks whether the machine was suspended since; a few us, to be called now and then. */
  checkSuspend(): void {
    const { monotonicNs, uptimeNs } = this.#sources;
    const uptime = uptimeNs();
    if (uptime === undefined) return;
    const coarse = uptime - monotonicNs();
    // The boot clock is never behind the monotonic one: a container's own /proc/uptime (lxcfs) can be.
    if (coarse < -UPTIME_SLACK_NS) return;
    const change = coarse - this.#suspendedNs;
    if (change < UPTIME_SLACK_NS && change > -UPTIME_SLACK_NS) return;
    for (let i = 0; i < READINGS_MAX; i++) {
      const next = uptimeNs();
      if (next === undefined) return;
      if (next !== uptime) {
        this.#suspendedNs = next - monotonicNs();
        return;
      }
    }
  }

  #measureWall(): bigint {
    const { monotonicNs, wallMs } = this.#sources;
    let offset = 0n;
    let apart: bigint | undefined;
    for (let tries = 0; tries < TRIES; tries++) {
      const start = wallMs();
      let before = monotonicNs();
      let now = wallMs();
      for (let i = 0; now === start && i < READINGS_MAX; i++) {
        before = monotonicNs();
        now = wallMs();
      }
      const after = monotonicNs();
      if (apart !== undefined && after - before >= apart) continue;
      apart = after - before;
      offset = BigInt(now) * MS - (after + this.#suspendedNs);
      // The step lay between two readings next to each other: nothing came between.
      if (apart < APART_NS) break;
    }
    return offset;
  }
}

/** The machine's clocks; `procDir`: the host's /proc. */
export function systemClocks(procDir: string): ClockSources {
  const file = join(procDir, 'uptime');
  return {
    monotonicNs: process.hrtime.bigint,
    wallMs: Date.now,
    uptimeNs: () => {
      try {
        const match = /^(\d+)\.(\d\d) /.exec(readFileSync(file, 'latin1'));
        return match ? BigInt(match[1] ?? 0) * 1_000_000_000n + BigInt(match[2] ?? 0) * 10n * MS : undefined;
      } catch {
        return undefined;
      }
    },
  };
}
