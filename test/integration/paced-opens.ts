import { mkdirSync } from 'node:fs';
import { until } from './condition.ts';
import type { ControlGroup } from './control-group.ts';
import type { Row } from './event-files.ts';
import { programPath, startTruth } from './truth-program.ts';

export interface Open {
  readonly number: number;
  /** Boot clock, ns. */
  readonly t0: bigint;
  readonly t1: bigint;
}

/** test/truth/pace: opens of new files at a pace, each told by the one who did it. */
export class PacedOpens {
  readonly opens: Open[] = [];
  readonly #dir: string;
  readonly #child: ReturnType<typeof startTruth>;

  constructor(group: ControlGroup, dir: string, perSecond: number) {
    this.#dir = dir;
    mkdirSync(dir, { recursive: true });
    const args = ['acts', dir, String(perSecond), '1', programPath('nop')];
    this.#child = startTruth(group, 'pace', { args }, (line) => {
      const [what, number, t0, t1] = line.split(' ');
      if (what === 'o') this.opens.push({ number: Number(number), t0: BigInt(t0 ?? 0), t1: BigInt(t1 ?? 0) });
    });
  }

  /** So many more are done. */
  async more(count: number): Promise<void> {
    const goal = this.opens.length + count;
    await until(`${goal} opens`, () => this.opens.length >= goal, 60_000);
  }

  async end(): Promise<readonly Open[]> {
    this.#child.stdin?.end();
    await until('the end of the opens', () => this.#child.exitCode !== null);
    return this.opens;
  }

  /** The number of the open that a row tells of; undefined: of none of these. */
  numberOf(row: Row): number | undefined {
    const path = row['file_path'];
    if (row['kind'] !== 'file.open' || typeof path !== 'string' || !path.startsWith(`${this.#dir}/`)) return undefined;
    return Number(path.slice(this.#dir.length + 1));
  }
}
