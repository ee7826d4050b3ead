import { describe, expect, it } from 'vitest';
import { CpuCeiling, LIMIT_MIN, WARM_UP } from '../../../src/agent/cpu-ceiling.ts';

/** An agent that costs so much CPU an event, under a load of so many events a second, second by second. */
function simulate(ceiling: number, nodePerSecond: number) {
  const limits: (number | undefined)[] = [];
  const told: (number | undefined)[] = [];
  const control = new CpuCeiling({
    limit: (limit) => limits.push(limit),
    onChange: ({ limit }) => told.push(limit),
  });
  control.configure(ceiling, nodePerSecond);
  let cpuSeconds = 0;
  let records = 0;
  const run = (seconds: number, load: number, { idle = 0.01, perEvent = 20e-6 } = {}): number => {
    let used = 0;
    for (let i = 0; i < seconds; i++) {
      const budget = Math.min(control.limit ?? Number.POSITIVE_INFINITY, nodePerSecond || Number.POSITIVE_INFINITY);
      const taken = Math.min(load, budget);
      used = idle + taken * perEvent;
      cpuSeconds += used;
      records += taken;
      control.read({ elapsed: 1, cpuSeconds, records });
    }
    return used;
  };
  run(WARM_UP + 1, 0);
  return { control, run, limits, told };
}

describe('the CPU ceiling', () => {
  it('lowers the budget until the agent fits, and lifts it when the load is gone', () => {
    const { control, run, told } = simulate(0.25, 0);
    const used = run(60, 100_000);
    expect(used).toBeLessThan(0.3);
    expect(used).toBeGreaterThan(0.15);
    expect(control.limit).toBeGreaterThan(5000);
    run(120, 10);
    expect(control.limit).toBeUndefined();
    expect(told.at(-1)).toBeUndefined();
    // Some lines, not one a second.
    expect(told.length).toBeLessThan(20);
  });

  it('never goes above the budget of the settings, and ends there', () => {
    const { control, run, limits } = simulate(0.25, 5000);
    run(60, 100_000, { perEvent: 100e-6 });
    expect(control.limit).toBeLessThan(3000);
    run(60, 100_000, { perEvent: 1e-6 });
    expect(control.limit).toBeUndefined();
    expect(Math.max(...limits.filter((limit) => limit !== undefined))).toBeLessThan(5000);
  });

  it('does nothing below the ceiling, without one, or while it starts', () => {
    for (const [ceiling, load] of [
      [0.25, 5000],
      [0, 1_000_000],
    ] as const) {
      const { run, limits } = simulate(ceiling, 0);
      run(60, load);
      expect(limits).toEqual([]);
    }
    const limits: unknown[] = [];
    const control = new CpuCeiling({ limit: (limit) => limits.push(limit), onChange: () => {} });
    control.configure(0.1, 0);
    for (let i = 1; i < WARM_UP; i++) control.read({ elapsed: 1, cpuSeconds: i, records: 0 });
    expect(limits).toEqual([]);
  });

  it('never lets the node fall silent', () => {
    const { control, run } = simulate(0.25, 0);
    run(60, 100_000, { idle: 1 });
    expect(control.limit).toBe(LIMIT_MIN);
  });

  it('lets go when the ceiling is taken away', () => {
    const { control, run } = simulate(0.25, 0);
    run(30, 100_000);
    expect(control.limit).toBeDefined();
    control.configure(0, 0);
    expect(control.limit).toBeUndefined();
  });
});
