import { CgroupError } from '../kubernetes/cgroup-mount.ts';
import { openLog } from '../telemetry/log.ts';
import { Agent } from './agent.ts';
import { type AgentOptions, StartError } from './options.ts';

const LOG_STOP_MS = 500;

/** Runs an agent until a signal, or until standalone's reader is gone. Resolves to the exit code: 0 ran, 1 could not. */
export async function runAgent(options: AgentOptions): Promise<number> {
  const { log, end } = openLog(options.json);
  let stop: (why: string) => void = () => {};
  const stopping = new Promise<string>((resolve) => {
    stop = resolve;
  });
  let signals = 0;
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.on(signal, () => {
      // Nobody waits for an agent that was told twice.
      if (++signals > 1) process.exit(1);
      stop(signal);
    });
  }
  process.on('uncaughtException', (error) => {
    log.fatal({ err: error }, 'the agent ends: it met an error that it does not know');
    // The kernel takes the tap out with the process.
    void end(LOG_STOP_MS).then(() => process.exit(1));
  });

  let agent: Agent;
  try {
    agent = await Agent.start(options, log, {
      onTailClosed: () => {
        if (options.standalone) stop('stdout was closed');
      },
    });
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    const remedy =
      error instanceof StartError ? error.remedy : error instanceof CgroupError ? undefined : 'see: kerntap doctor';
    log.fatal({ remedy }, `the agent cannot start: ${message}`);
    await end(LOG_STOP_MS);
    return 1;
  }
  const uptime_ms = Math.round(performance.now());
  if (options.standalone) log.info({ events: options.outDir, uptime_ms }, 'watching this host');
  else
    log.info(
      { collector: options.endpoints.join() || undefined, otlp: options.settings.stream.otlp.endpoint, uptime_ms },
      'watching this node',
    );
  const why = await stopping;
  log.info({ why }, 'stopping');
  const ledger = await agent.stop();
  log.info({ ledger }, 'stopped');
  await end(LOG_STOP_MS);
  return 0;
}
