/**
 * Where an agent's OTLP goes in a test: the receiver itself, or, where OTELCOL names a built OpenTelemetry Collector
 * (test/otelcol), that Collector, which hands everything on to the receiver and confirms only what that has confirmed.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { OtlpReceiver } from '../otlp-receiver.ts';
import { until } from './condition.ts';

const OTELCOL = process.env['OTELCOL'] ?? '';

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}

export class OtlpFarEnd {
  readonly receiver = new OtlpReceiver();
  readonly #dir = mkdtempSync(join(tmpdir(), 'kt-otelcol-'));
  #collector: ChildProcess | undefined;
  #port = 0;

  static async open(): Promise<OtlpFarEnd> {
    const end = new OtlpFarEnd();
    await end.receiver.start();
    if (!end.direct) {
      end.#port = await freePort();
      writeFileSync(
        join(end.#dir, 'config.yaml'),
        `receivers: {otlp: {protocols: {grpc: {endpoint: "127.0.0.1:${end.#port}"}}}}
exporters: {otlp: {endpoint: "${end.receiver.address}", tls: {insecure: true}, sending_queue: {enabled: false}, retry_on_failure: {enabled: false}}}
service: {telemetry: {metrics: {level: none}}, pipelines: {logs: {receivers: [otlp], exporters: [otlp]}}}
`,
      );
      await end.up();
    }
    return end;
  }

  /** Nothing is between the agent and the receiver. */
  readonly direct = OTELCOL === '';

  get address(): string {
    return this.direct ? this.receiver.address : `127.0.0.1:${this.#port}`;
  }

  /** Kills what the agent talks to. */
  async down(): Promise<void> {
    if (this.direct) {
      this.receiver.stop();
      return;
    }
    const collector = this.#collector;
    this.#collector = undefined;
    if (collector === undefined) return;
    const ended = new Promise((resolve) => collector.once('exit', resolve));
    collector.kill('SIGKILL');
    await ended;
  }

  /** Has it there again, at the same address. */
  async up(): Promise<void> {
    if (this.direct) {
      await this.receiver.start();
      return;
    }
    const collector = spawn(OTELCOL, ['--config', join(this.#dir, 'config.yaml')], {
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    this.#collector = collector;
    let said = '';
    collector.stderr?.on('data', (bytes: Buffer) => {
      said += bytes.toString();
    });
    await until(
      () => `the OpenTelemetry Collector; it says:\n${said}`,
      () => said.includes('Everything is ready'),
    );
  }

  async close(): Promise<void> {
    await this.down();
    this.receiver.stop();
    rmSync(this.#dir, { recursive: true, force: true });
  }
}
