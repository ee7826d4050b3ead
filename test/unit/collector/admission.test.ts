import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { PeerCertificate } from 'node:tls';
import { status } from '@grpc/grpc-js';
import { pino } from 'pino';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { decodeBatch, encodeBatch } from '../../../proto/contract.ts';
import { Admission, type AdmissionOptions } from '../../../src/collector/admission.ts';
import { ClientPattern, namesOf } from '../../../src/collector/client-names.ts';
import { Complaints } from '../../../src/collector/complaints.ts';
import { batchNode, ProtocolError } from '../../../src/collector/peer.ts';
import { type Collector, startCollector } from '../../../src/collector/server.ts';
import { NODE, openBatch, Publisher } from './publisher.ts';

const certificate = (common: string | undefined, alternatives = '') =>
  ({ subject: { CN: common }, subjectaltname: alternatives }) as unknown as PeerCertificate;

describe('names of a client certificate', () => {
  it('are its common name and its DNS, URI and mail names', () => {
    expect(
      namesOf(certificate('agent', 'DNS:a.example, URI:spiffe://x/y, IP Address:10.0.0.1, email:a@example, DNS:agent')),
    ).toEqual(['agent', 'a.example', 'spiffe://x/y', 'a@example']);
    expect(namesOf(certificate(undefined))).toEqual([]);
  });

  it('cannot be made up within one another', () => {
    // As node:tls writes a name with a comma (CVE-2021-44532).
    expect(namesOf(certificate('a', 'URI:"spiffe://x, DNS:admin", DNS:b'))).toEqual(['a', 'b']);
    expect(namesOf(certificate('a', 'DNS:"b\\", DNS:admin", DNS:c'))).toEqual(['a', 'c']);
  });
});

describe('a pattern of clients', () => {
  it.each([
    ['agent', 'agent', true],
    ['agent', 'agent2', false],
    ['agent', 'xagent', false],
    ['a.b', 'axb', false],
    ['*.kerntap', 'x.y.kerntap', true],
    ['spiffe://c/ns/*/sa/kerntap', 'spiffe://c/ns/tap/sa/kerntap', true],
    ['(a|b)+', 'a', false],
    ['{node}', 'node-1', true],
    ['{node}', 'node-2', false],
    ['{node}.tap', 'node-1.tap', true],
    ['{node}.*', 'node-1.x', true],
    ['system:node:{node}', 'system:node:node-11', false],
  ])('%s fits %s for node-1: %s', (pattern, name, fits) => {
    expect(new ClientPattern(pattern).fits(name, 'node-1')).toBe(fits);
  });

  it('names one node', () => {
    expect(() => new ClientPattern('{node}.{node}')).toThrow(TypeError);
    expect(() => new ClientPattern('')).toThrow(TypeError);
  });
});

let nowMs = 0;
const admission = (options: Partial<AdmissionOptions> = {}) =>
  new Admission({ allowClients: [], clientStreams: 2, clientBytes: 0, clientEvents: 0, ...options }, () => nowMs);

function refusal(act: () => unknown): [status, string] {
  try {
    act();
  } catch (error) {
    if (error instanceof ProtocolError) return [error.code, error.reason];
    throw error;
  }
  throw new Error('was let in');
}

describe('the quota of a client', () => {
  it('is for all its streams, and for it alone', () => {
    const door = admission();
    const first = door.admit(certificate('agent'), 'node-1');
    door.admit(certificate('agent'), 'node-1');
    expect(refusal(() => door.admit(certificate('agent'), 'node-1'))).toEqual([
      status.RESOURCE_EXHAUSTED,
      'client_streams',
    ]);
    door.admit(certificate('agent'), 'node-2');
    first.leave();
    first.leave();
    door.admit(certificate('agent'), 'node-1');
    expect(() => door.admit(certificate('agent'), 'node-1')).toThrow(ProtocolError);
  });

  it('of a certificate that names its node is that of the certificate', () => {
    const door = admission({ allowClients: ['{node}'] });
    expect(door.admit(certificate('node-1'), 'node-1').node).toBe('node-1');
    expect(refusal(() => door.admit(certificate('node-1'), 'node-2'))).toEqual([
      status.PERMISSION_DENIED,
      'client_name',
    ]);
    expect(admission().admit(certificate('agent'), 'node-1').node).toBeUndefined();
  });

  it('lets ten seconds be spent at once, then makes the client wait for what it owes', () => {
    const door = admission({ clientBytes: 1000, clientEvents: 10 });
    const guest = door.admit(undefined, 'node-1');
    expect(guest.spend(10_000, 100)).toBe(0);
    expect(guest.spend(500, 0)).toBe(500);
    expect(guest.spend(0, 20)).toBe(2_000);
    nowMs += 2_500;
    expect(guest.spend(0, 0)).toBe(0);
    // The same client on another stream.
    const again = door.admit(undefined, 'node-1');
    expect(again.spend(4_000, 0)).toBeGreaterThan(0);
    expect(door.admit(undefined, 'node-2').spend(10_000, 0)).toBe(0);
  });

  it('a new stream is no new quota', () => {
    const door = admission({ clientBytes: 1000 });
    const guest = door.admit(undefined, 'node-1');
    guest.spend(20_000, 0);
    guest.leave();
    expect(door.admit(undefined, 'node-1').spend(1, 0)).toBeGreaterThan(9_000);
  });
});

describe('a node that a certificate names', () => {
  const other = Buffer.alloc(16, 0xee);
  const brought = (nodeName: string) =>
    decodeBatch(encodeBatch({ runId: other, firstSeq: 1n, node: { ...NODE, runId: other, nodeName } }));

  it('binds the runs that it brings from its spool, too', () => {
    expect(batchNode(brought('node-1'), NODE, 'node-1').nodeName).toBe('node-1');
    expect(() => batchNode(brought('node-2'), NODE, 'node-1')).toThrow(/the batch of another/);
    expect(batchNode(brought('node-2'), NODE).nodeName).toBe('node-2');
  });
});

describe('complaints about peers', () => {
  it('are ten of each reason a minute, and how many more there were', () => {
    const lines: object[] = [];
    let now = 0;
    const log = pino({ base: null }, { write: (line: string) => lines.push(JSON.parse(line)) });
    const complaints = new Complaints(log, () => now);
    for (let i = 0; i < 50; i++) complaints.warn('tls', { i }, 'no');
    complaints.warn('schema', {}, 'no');
    expect(lines).toHaveLength(11);
    now += 60_000;
    complaints.warn('tls', {}, 'no');
    expect(lines.slice(11)).toMatchObject([{ counted: 'tls', times: 40 }, { counted: 'tls' }]);
  });
});

describe('a collector with quotas', () => {
  let out: string;
  let collector: Collector;
  const publishers: Publisher[] = [];

  beforeEach(() => {
    out = mkdtempSync(join(tmpdir(), 'kerntap-quota-'));
  });
  afterEach(async () => {
    for (const each of publishers.splice(0)) each.close();
    await collector.close();
    rmSync(out, { recursive: true, force: true });
  });

  const start = async (options: Partial<AdmissionOptions>) => {
    collector = await startCollector({ listen: '127.0.0.1:0', out, log: pino({ level: 'silent' }), ...options });
  };
  const publisher = (nodeName = 'node-1') => {
    const made = new Publisher(collector.address);
    publishers.push(made);
    return made.hello({ ...NODE, nodeName });
  };

  it('refuses one stream too many of a client with RESOURCE_EXHAUSTED, until another ends', async () => {
    await start({ clientStreams: 1 });
    const first = publisher().batch(openBatch(1n, 1n, 1));
    await first.untilAcked(1n);
    const second = publisher();
    await second.until(() => second.status !== 'open');
    expect(second.status).toMatchObject({ code: status.RESOURCE_EXHAUSTED, details: /has its 1 streams/ });
    const other = publisher('node-2').batch(openBatch(1n, 1n, 1));
    await other.untilAcked(1n);
    first.close();
    const deadline = Date.now() + 10_000;
    let third: Publisher;
    do {
      third = publisher().batch(openBatch(1n, 2n, 1));
      await third.until(() => third.acked === 1n || third.status !== 'open');
    } while (third.acked !== 1n && Date.now() < deadline);
    expect(third.acked).toBe(1n);
  });

  it('reads a client that is over its quota no further for a while, and loses nothing of it; others go on', async () => {
    // A burst of 1,000 events, then 100 a second.
    await start({ clientEvents: 100 });
    const loud = publisher();
    const started = performance.now();
    for (let i = 1n; i <= 12n; i++) loud.batch(openBatch(i, (i - 1n) * 100n + 1n, 100));
    await loud.untilAcked(11n);
    // The eleventh is over it: the twelfth waits for a second.
    const quiet = publisher('node-2').batch(openBatch(1n, 1n, 100));
    await quiet.untilAcked(1n);
    await loud.untilAcked(12n);
    expect(loud.status).toBe('open');
    expect(performance.now() - started).toBeGreaterThan(900);
    expect(collector.stats()).toMatchObject({ events: { 'file.open': 1300 }, batchesRejected: 0 });
    expect(collector.stats().throttledMs).toBeGreaterThan(900);
  });

  it('closes at once, though a client waits for its quota', async () => {
    await start({ clientEvents: 1 });
    const loud = publisher().batch(openBatch(1n, 1n, 1000));
    await loud.untilAcked(1n);
    const started = performance.now();
    await collector.close();
    expect(performance.now() - started).toBeLessThan(3_000);
    expect(loud.acked).toBe(1n);
  });
});
