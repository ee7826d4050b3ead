/** What the agent answers to others: metrics and health over HTTP, and whoever asks on its local socket. */
import type { Logger } from 'pino';
import { factTable, type NodeFactsKeeper } from '../kubernetes/node-facts.ts';
import { agentMetrics } from '../telemetry/agent-metrics.ts';
import { liveness, readiness } from '../telemetry/health.ts';
import { serveTelemetry, type TelemetryServer } from '../telemetry/server.ts';
import type { Accounts } from './accounts.ts';
import { LocalSocket } from './local-socket.ts';
import type { Observation } from './observation.ts';
import type { Viewers } from './viewers.ts';

export interface ServiceParts {
  /** Undefined: no HTTP. */
  readonly metricsListen: string | undefined;
  /** Undefined: no local socket. */
  readonly socketPath: string | undefined;
  readonly version: string;
  readonly facts: NodeFactsKeeper;
  readonly runId: Uint8Array;
  readonly observation: Observation;
  readonly accounts: Pick<Accounts, 'read' | 'balance'>;
  readonly viewers: Viewers;
  readonly log: Logger;
}

/** Never fails: an address or a path that cannot be had costs what would be answered there, not the tap. */
export class Services {
  readonly #parts: ServiceParts;
  #telemetry: TelemetryServer | undefined;
  #local: LocalSocket | undefined;

  static async open(parts: ServiceParts): Promise<Services> {
    const services = new Services(parts);
    await Promise.all([services.#serve(), services.#listen()]);
    return services;
  }

  private constructor(parts: ServiceParts) {
    this.#parts = parts;
  }

  async close(): Promise<void> {
    this.#local?.close();
    await this.#telemetry?.close();
  }

  async #serve(): Promise<void> {
    const { metricsListen, observation, log } = this.#parts;
    if (metricsListen === undefined) return;
    try {
      this.#telemetry = await serveTelemetry(metricsListen, {
        metrics: () => agentMetrics(observation.read()),
        healthz: () => liveness(observation.health()),
        readyz: () => readiness(observation.health()),
      });
      log.info({ address: this.#telemetry.address }, 'metrics and health');
    } catch (error) {
      log.error({ err: error, address: metricsListen }, 'metrics and health cannot be served');
    }
  }

  async #listen(): Promise<void> {
    const { socketPath: path, accounts, viewers, log } = this.#parts;
    if (path === undefined) return;
    try {
      this.#local = await LocalSocket.open({
        path,
        answers: {
          ledger: () => ({ ledger: accounts.read(), balance: accounts.balance() }),
          status: () => this.#status(),
          tail: (filter, sink, refuse) => viewers.open(filter, sink, refuse),
        },
      });
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      log.warn({ reason }, 'no local socket: kerntap tail and ledger cannot ask this agent');
    }
  }

  #status(): object {
    const { version, facts, runId, observation, viewers } = this.#parts;
    const { probes, stream, otlp } = observation.read();
    const { ok: _ok, ...health } = readiness(observation.health());
    return {
      version,
      node: facts.nodeName,
      facts: factTable(facts.facts),
      fact_problems: facts.problems,
      run: Buffer.from(runId).toString('hex'),
      uptime_s: Math.round(process.uptime()),
      health,
      probes,
      stream: stream && { state: stream.state, acked_events: stream.ackedEvents, queue_bytes: stream.queueBytes },
      otlp: otlp && { state: otlp.state, confirmed_events: otlp.confirmedEvents, queue_bytes: otlp.queueBytes },
      viewers: viewers.count,
    };
  }
}
