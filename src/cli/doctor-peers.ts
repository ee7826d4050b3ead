import { connect } from 'node:net';
import { Client, credentials } from '@grpc/grpc-js';
import type { Check } from '../kernel/requirements.ts';
import { type KubeletOptions, KubeletSource } from '../kubernetes/kubelet.ts';

/** Is a gRPC server listening there? HOST:PORT, an IPv6 address in brackets. Never fatal: the agent waits for it. */
export async function checkCollector(address: string, timeoutMs = 3000): Promise<Check> {
  const check: Check = {
    id: 'collector',
    title: 'Collector',
    verdict: 'ok',
    value: `${address} speaks gRPC`,
    remedy: '',
  };
  const bad = (value: string, remedy: string): Check => ({ ...check, verdict: 'warning', value, remedy });
  try {
    await reachTcp(address, timeoutMs);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    return bad(
      `${address}: ${why}`,
      'start kerntap collector --listen there, or correct --collector; events wait till then',
    );
  }
  const client = new Client(address, credentials.createInsecure());
  try {
    await new Promise<void>((resolve, reject) => {
      client.waitForReady(Date.now() + timeoutMs, (error) => (error ? reject(error) : resolve()));
    });
    return check;
  } catch {
    return bad(
      `${address} accepts connections but speaks no gRPC`,
      'something else listens there: correct --collector',
    );
  } finally {
    client.close();
  }
}

function reachTcp(address: string, timeoutMs: number): Promise<void> {
  const colon = address.lastIndexOf(':');
  const host = address.slice(0, colon).replace(/^\[(.*)\]$/, '$1');
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port: Number(address.slice(colon + 1)) });
    const timer = setTimeout(() => socket.destroy(new Error(`no answer within ${timeoutMs} ms`)), timeoutMs);
    socket.once('connect', () => {
      socket.end();
      resolve();
    });
    socket.once('error', reject);
    socket.once('close', () => clearTimeout(timer));
  });
}

/** Does the kubelet answer with its pods? Never fatal: events are sent as pending till then. */
export async function checkKubelet(options: KubeletOptions): Promise<Check> {
  const check: Check = { id: 'kubelet', title: 'Kubelet', verdict: 'ok', value: '', remedy: '' };
  let source: KubeletSource | undefined;
  try {
    source = new KubeletSource({ timeoutMs: 5000, ...options });
    const pods = await source.refresh('doctor');
    return { ...check, value: `${options.url}: ${pods.length} pods` };
  } catch (error) {
    // its messages name the remedy
    const remedy = error instanceof Error ? error.message : String(error);
    return { ...check, verdict: 'warning', value: `no pods from ${options.url}`, remedy };
  } finally {
    source?.close();
  }
}
