import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { BootClock, type ClockSources, systemClocks } from '../../../src/agent/clock.ts';

const MS = 1_000_000n;

const CLOCKS = `
#include <stdio.h>
#include <time.h>
int main(void)
{
	struct timespec boot, wall;
	clock_gettime(CLOCK_BOOTTIME, &boot);
	clock_gettime(CLOCK_REALTIME, &wall);
	return printf("%ld%09ld %ld%09ld", boot.tv_sec, boot.tv_nsec, wall.tv_sec, wall.tv_nsec) < 0;
}
`;

/** A machine whose clocks advance 1 us with every reading. */
function machine(start: { wallNs: bigint; suspendedNs?: bigint }) {
  let monotonic = 5_000_000_000n;
  const state = { wallOffset: start.wallNs - monotonic, suspended: start.suspendedNs ?? 0n, uptimeFakedBy: 0n };
  const advance = (ns = 1000n): bigint => {
    monotonic += ns;
    return monotonic;
  };
  const sources: ClockSources = {
    monotonicNs: () => advance(),
    wallMs: () => Number((advance() + state.wallOffset) / MS),
    uptimeNs: () => ((advance() + state.suspended + state.uptimeFakedBy) / (10n * MS)) * 10n * MS,
  };
  return { sources, state, advance, now: () => monotonic };
}

const difference = (a: bigint, b: bigint): number => Math.abs(Number(a - b));

describe('the boot clock', () => {
  it('is the monotonic clock on a machine that was never suspended', () => {
    const { sources, now } = machine({ wallNs: 1_700_000_000_123_456_789n });
    const clock = new BootClock(sources);
    expect(difference(clock.nowNs(), now())).toBeLessThan(5000);
  });

  it('knows the time that the machine was suspended to some us', () => {
    const suspendedNs = 3_600_123_456_789n;
    const { sources, now } = machine({ wallNs: 1_700_000_000_123_456_789n, suspendedNs });
    const clock = new BootClock(sources);
    expect(difference(clock.nowNs(), now() + suspendedNs)).toBeLessThan(10_000);
  });

  it('notices a suspend while it runs', () => {
    const { sources, state, now } = machine({ wallNs: 1_700_000_000_000_000_000n });
    const clock = new BootClock(sources);
    state.suspended = 60_000_000_000n;
    clock.checkSuspend();
    expect(difference(clock.nowNs(), now() + state.suspended)).toBeLessThan(10_000);
  });

  it("does not believe an uptime behind the monotonic clock: a container's own", () => {
    const { sources, state, now } = machine({ wallNs: 1_700_000_000_000_000_000n });
    state.uptimeFakedBy = -4_000_000_000n;
    const clock = new BootClock(sources);
    expect(difference(clock.nowNs(), now())).toBeLessThan(5000);
  });

  it('measures the wall offset far finer than the ms that it is read in', () => {
    const { sources, state } = machine({ wallNs: 1_700_000_000_123_456_789n });
    expect(difference(new BootClock(sources).wallOffsetNs(), state.wallOffset)).toBeLessThan(10_000);
  });

  it('follows a step of the wall clock and tells of it, and does not measure without one', () => {
    const { sources, state, advance } = machine({ wallNs: 1_700_000_000_000_000_000n });
    const clock = new BootClock(sources);
    const steps: bigint[] = [];
    clock.onStep = (from, to) => steps.push(to - from);
    for (let i = 0; i < 1000; i++) {
      clock.wallOffsetNs();
      advance(777_777n);
    }
    expect(steps).toEqual([]);
    state.wallOffset -= 3_000_000_000n;
    expect(difference(clock.wallOffsetNs(), state.wallOffset)).toBeLessThan(10_000);
    expect(steps).toHaveLength(1);
  });

  it('measures again where it was interrupted between two readings, and tells of no step that was none', () => {
    const { sources, state, advance } = machine({ wallNs: 1_700_000_000_000_000_000n });
    let readings = 0;
    const interrupted: ClockSources = {
      ...sources,
      // Every 900th reading the machine does something else for 7 ms.
      wallMs: () => {
        const now = sources.wallMs();
        if (++readings % 900 === 0) advance(7n * MS);
        return now;
      },
    };
    const clock = new BootClock(interrupted);
    const steps: bigint[] = [];
    clock.onStep = (from, to) => steps.push(to - from);
    for (let i = 0; i < 5000; i++) expect(difference(clock.wallOffsetNs(), state.wallOffset)).toBeLessThan(3_500_000);
    expect(steps).toEqual([]);
  });

  it('takes the closest pair of readings where every one was interrupted', () => {
    const { sources, state, advance } = machine({ wallNs: 1_700_000_000_000_000_000n });
    const pauses = [900n, 700n, 80n, 800n, 600n].map((us) => us * 1000n);
    let last = sources.wallMs();
    let edges = 0;
    const clock = new BootClock({
      ...sources,
      // Whatever sees the clock step is held up just then.
      wallMs: () => {
        const now = sources.wallMs();
        if (now !== last) advance(pauses[edges++ % pauses.length]);
        last = now;
        return now;
      },
    });
    expect(edges).toBeGreaterThanOrEqual(pauses.length);
    expect(difference(clock.wallOffsetNs(), state.wallOffset)).toBeLessThan(100_000);
  });

  it("agrees with the machine's own clocks", () => {
    const clock = new BootClock(systemClocks('/proc'));
    const folder = mkdtempSync(join(tmpdir(), 'kerntap-clock-'));
    const program = join(folder, 'clocks');
    execFileSync('cc', ['-x', 'c', '-o', program, '-'], { input: CLOCKS });
    const [boot, wall] = execFileSync(program, { encoding: 'utf8' }).trim().split(' ').map(BigInt);
    rmSync(folder, { recursive: true });
    if (boot === undefined || wall === undefined) throw new Error('no clocks were told');
    expect(difference(clock.wallOffsetNs(), wall - boot)).toBeLessThan(1_000_000);
    expect(Number(clock.nowNs() - boot)).toBeGreaterThan(0);
    expect(Number(clock.nowNs() - boot)).toBeLessThan(1e9);
  });
});
