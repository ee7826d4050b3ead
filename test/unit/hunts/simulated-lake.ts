import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { type Collector, startCollector } from '../../../src/collector/server.ts';
import { Lake, type LakeOptions } from '../../hunts.ts';
import { SimulatedNode } from './simulated-node.ts';

/** Simulated agents, the real collector (or several), and the views over what it wrote. */
export class SimulatedLake {
  readonly dir = mkdtempSync(join(tmpdir(), 'kerntap-lake-'));
  readonly #collectors: Collector[] = [];
  readonly #nodes: SimulatedNode[] = [];
  readonly #lakes: Lake[] = [];

  /** `replicas` collectors of one name. */
  static async start(replicas = 1): Promise<SimulatedLake> {
    const lake = new SimulatedLake();
    for (let i = 0; i < replicas; i++) {
      const out = join(lake.dir, `replica-${i}`, 'events');
      lake.#collectors.push(await startCollector({ listen: '127.0.0.1:0', out, log: pino({ level: 'silent' }) }));
    }
    return lake;
  }

  node(
    name: string,
    options: { cluster?: string; run?: number; skewMs?: number; replica?: number } = {},
  ): SimulatedNode {
    const collector = this.#collectors[options.replica ?? 0];
    if (collector === undefined) throw new Error(`no replica ${options.replica}`);
    const node = new SimulatedNode(collector.address, name, options);
    this.#nodes.push(node);
    return node;
  }

  /** A file beside the events: rows of the audit log or of conn.log. */
  write(name: string, rows: readonly object[]): string {
    const file = join(this.dir, name);
    writeFileSync(file, rows.map((row) => `${JSON.stringify(row)}\n`).join(''));
    return file;
  }

  /** Ends the collectors, so that every file is finished, and opens the views. */
  async open(options: LakeOptions = {}): Promise<Lake> {
    for (const node of this.#nodes.splice(0)) node.close();
    for (const collector of this.#collectors) await collector.close();
    const lake = await Lake.open(join(this.dir, 'replica-*', 'events'), options);
    this.#lakes.push(lake);
    return lake;
  }

  async remove(): Promise<void> {
    for (const lake of this.#lakes) lake.close();
    for (const node of this.#nodes) node.close();
    for (const collector of this.#collectors) await collector.close();
    rmSync(this.dir, { recursive: true, force: true });
  }
}
