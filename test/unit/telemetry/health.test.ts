import { request } from 'node:http';
import { createConnection } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { type HealthReadings, liveness, readiness } from '../../../src/telemetry/health.ts';
import { ProbeWatch } from '../../../src/telemetry/probe-watch.ts';
import { parseListen, serveTelemetry, type TelemetryServer } from '../../../src/telemetry/server.ts';
import { READINGS } from './agent-readings.ts';

const WELL: HealthReadings = {
  started: true,
  stopping: false,
  sinceDrainMs: 15,
  probes: [{ name: 'file.open', tier: 'syscall', state: 'on', reason: '' }],
  lostProbes: new Map(),
  stream: 'open',
  spool: '',
  streamProblem: '',
  tls: new Map(),
  pods: READINGS.pods,
  config: READINGS.config && { ...READINGS.config, lastSuccessful: true, problem: '' },
};

describe('health', () => {
  it('is ok while everything is', () => {
    expect(liveness(WELL)).toEqual({ ok: true, status: 'ok', failed: [], degraded: [] });
    expect(readiness(WELL)).toMatchObject(liveness(WELL));
  });

  it('says where the names of pods come from, how old they are, and what ails the other source', () => {
    const pods = READINGS.pods && { ...READINGS.pods, lastSuccessMs: Date.now() - 5000 };
    expect(readiness({ ...WELL, pods }).pods).toEqual({
      source: 'pods-api',
      age_s: 5,
      problems: { kubelet: 'forbidden' },
    });
    expect(readiness({ ...WELL, pods: undefined })).not.toHaveProperty('pods');
    const none = pods && { ...pods, source: undefined, lastSuccessMs: undefined };
    expect(readiness({ ...WELL, pods: none }).pods).toMatchObject({ source: 'none', age_s: null });
  });

  it('is degraded, yet alive and ready, by what a restart would not mend', () => {
    const now: HealthReadings = {
      ...WELL,
      probes: [{ name: 'file.open', tier: '', state: 'failed', reason: 'EPERM' }],
      stream: 'waiting',
      streamProblem: 'its certificate has expired',
      spool: 'ENOSPC: no space left on device, write',
      otlp: { state: 'waiting', problem: 'connect ECONNREFUSED' },
      tls: READINGS.tls,
      pods: READINGS.pods && { ...READINGS.pods, source: undefined, lastSuccessMs: undefined, problem: 'forbidden' },
      config: READINGS.config,
    };
    for (const answer of [liveness(now), readiness(now)]) {
      expect(answer).toMatchObject({ ok: true, status: 'degraded', failed: [] });
      expect(answer.degraded).toEqual([
        { part: 'probe', name: 'file.open', reason: 'EPERM' },
        { part: 'collector', reason: 'no stream to the collector: its certificate has expired' },
        { part: 'otlp', reason: 'connect ECONNREFUSED' },
        { part: 'spool', reason: 'ENOSPC: no space left on device, write' },
        { part: 'kubelet', reason: 'forbidden' },
        { part: 'certificates', name: 'collector', reason: 'collector.tls.keyFile: no' },
        { part: 'config', reason: 'line 3' },
      ]);
    }
  });

  it('asks for no stream where OTLP is the only way out', () => {
    const { status } = liveness({ ...WELL, stream: undefined, otlp: { state: 'open', problem: '' } });
    expect(status).toBe('ok');
  });

  it('fails where the drain is stuck', () => {
    expect(liveness({ ...WELL, sinceDrainMs: 9_999 }).ok).toBe(true);
    expect(liveness({ ...WELL, sinceDrainMs: 12_345 })).toMatchObject({
      ok: false,
      status: 'failed',
      failed: [{ part: 'drain', reason: 'the rings were not drained for 12 s' }],
    });
    expect(readiness({ ...WELL, sinceDrainMs: 12_345 }).ok).toBe(false);
  });

  it('fails where a probe was attached and is gone, not where it never was', () => {
    const watch = new ProbeWatch();
    const open = { name: 'file.open', tier: 'syscall', state: 'on', reason: '' } as const;
    const lost = { name: 'file.open', tier: '', state: 'failed', reason: 'no such program' } as const;
    watch.observe([lost]);
    expect(watch.lost.size).toBe(0);
    watch.observe([open]);
    watch.observe([lost]);
    const now = { ...WELL, probes: [lost], lostProbes: watch.lost };
    expect(liveness(now)).toMatchObject({
      ok: false,
      failed: [{ part: 'probe', name: 'file.open', reason: 'lost: no such program' }],
      degraded: [],
    });
    watch.observe([open]);
    expect(watch.lost.size).toBe(0);
    watch.observe([{ ...open, state: 'off' }]);
    watch.observe([lost]);
    expect(watch.lost.size).toBe(0);
  });

  it('is not ready before every probe was tried, nor at the end', () => {
    expect(liveness({ ...WELL, started: false }).ok).toBe(true);
    expect(readiness({ ...WELL, started: false }).failed).toMatchObject([{ part: 'start' }]);
    expect(readiness({ ...WELL, stopping: true }).failed).toMatchObject([{ part: 'start' }]);
  });
});

describe('the telemetry server', () => {
  let server: TelemetryServer | undefined;
  afterEach(async () => {
    await server?.close();
    server = undefined;
  });

  async function serve(readings: HealthReadings = WELL) {
    let scrapes = 0;
    server = await serveTelemetry('127.0.0.1:0', {
      metrics: () => `m ${++scrapes}\n`,
      healthz: () => liveness(readings),
      readyz: () => {
        throw new Error('broken');
      },
    });
    return server.address;
  }

  function ask(address: string, path: string, method = 'GET') {
    return new Promise<{ status: number | undefined; type: string | undefined; body: string }>((resolve, reject) => {
      request(`http://${address}${path}`, { method, agent: false }, (response) => {
        let body = '';
        response.setEncoding('utf8');
        response.on('data', (text: string) => {
          body += text;
        });
        response.on('end', () => {
          resolve({ status: response.statusCode, type: response.headers['content-type'], body });
        });
      })
        .on('error', reject)
        .end();
    });
  }

  it('answers what it serves, and refuses the rest', async () => {
    const address = await serve();
    expect(await ask(address, '/metrics?x=1')).toEqual({
      status: 200,
      type: 'text/plain; version=0.0.4; charset=utf-8',
      body: 'm 1\n',
    });
    const health = await ask(address, '/healthz');
    expect(health).toMatchObject({ status: 200, type: 'application/json' });
    expect(JSON.parse(health.body)).toEqual({ status: 'ok', failed: [], degraded: [] });
    expect(await ask(address, '/healthz', 'HEAD')).toMatchObject({ status: 200, body: '' });
    expect(await ask(address, '/metrics', 'POST')).toMatchObject({ status: 405 });
    expect(await ask(address, '/')).toMatchObject({ status: 404 });
    expect(await ask(address, '/../etc/passwd')).toMatchObject({ status: 404 });
  });

  it('answers 503 with the reason where it is not well, and 500 where it cannot tell', async () => {
    const address = await serve({ ...WELL, sinceDrainMs: 60_000 });
    const health = await ask(address, '/healthz');
    expect(health.status).toBe(503);
    expect(JSON.parse(health.body)).toMatchObject({ status: 'failed', failed: [{ part: 'drain' }] });
    expect(await ask(address, '/readyz')).toMatchObject({ status: 500, body: 'broken\n' });
  });

  it('survives what is no HTTP', async () => {
    const address = await serve();
    const { port } = parseListen(address);
    const answer = await new Promise<string>((resolve) => {
      let text = '';
      const socket = createConnection({ host: '127.0.0.1', port }, () => socket.write('\x16\x03\x01\x00\xff\r\n\r\n'));
      socket.setEncoding('latin1');
      socket.on('data', (data) => {
        text += data.toString();
      });
      socket.on('error', () => resolve(text));
      socket.on('close', () => resolve(text));
    });
    expect(answer).toContain('400');
    expect((await ask(address, '/healthz')).status).toBe(200);
  });

  it('rejects an address that is taken, and one that is none', async () => {
    const address = await serve();
    const source = { metrics: () => '', healthz: () => liveness(WELL), readyz: () => liveness(WELL) };
    await expect(serveTelemetry(address, source)).rejects.toThrow('EADDRINUSE');
    for (const wrong of ['9464', ':', ':99999', 'host', '[::1]', 'a b:1']) {
      await expect(serveTelemetry(wrong, source)).rejects.toThrow(RangeError);
    }
    expect(parseListen(':9464')).toEqual({ host: undefined, port: 9464 });
    expect(parseListen('[::1]:0')).toEqual({ host: '::1', port: 0 });
  });
});
