import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { nodeOfToken, readNodeFacts } from '../../../src/kubernetes/facts.ts';

const dir = mkdtempSync(join(tmpdir(), 'kerntap-facts-'));
afterAll(() => rmSync(dir, { recursive: true }));

function token(claims: unknown): string {
  return `e30.${Buffer.from(JSON.stringify(claims)).toString('base64url')}.sig`;
}

const BOUND = token({ 'kubernetes.io': { namespace: 'x', node: { name: 'node-a', uid: 'u-1' } } });

function file(name: string, content: string): string {
  writeFileSync(join(dir, name), content);
  return join(dir, name);
}

describe('readNodeFacts', () => {
  it('agrees with uname and /proc', () => {
    const uname = (flag: string) => execFileSync('uname', [flag], { encoding: 'utf8' }).trim();
    expect(readNodeFacts({ env: {}, clusterName: 'c', machineIdFile: file('machine-id', 'abc\n') })).toMatchObject({
      bootId: readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim(),
      hostName: uname('-n'),
      nodeName: uname('-n'),
      kernelRelease: uname('-r'),
      architecture: uname('-m'),
      machineId: 'abc',
      clusterName: 'c',
    });
  });

  it('takes the node name from the flag, the environment, the token, the host name, in that order', () => {
    const tokenFile = file('token', BOUND);
    const env = { NODE_NAME: 'by-env' };
    expect(readNodeFacts({ nodeName: 'by-flag', env, tokenFile })).toMatchObject({ nodeName: 'by-flag', nodeUid: '' });
    expect(readNodeFacts({ env, tokenFile })).toMatchObject({ nodeName: 'by-env', nodeUid: '' });
    expect(readNodeFacts({ env: {}, tokenFile })).toMatchObject({ nodeName: 'node-a', nodeUid: 'u-1' });
  });

  it("does not take a pod's addresses for the node's", () => {
    expect(readNodeFacts({ env: { KUBERNETES_SERVICE_HOST: '10.96.0.1' } }).nodeIps).toEqual([]);
    const env = { KUBERNETES_SERVICE_HOST: '10.96.0.1', NODE_IPS: '10.0.0.1, fd00::1,' };
    expect(readNodeFacts({ env }).nodeIps).toEqual(['10.0.0.1', 'fd00::1']);
    expect(readNodeFacts({ env: {} }).nodeIps).not.toContain('127.0.0.1');
  });

  it('leaves empty what cannot be read', () => {
    const facts = readNodeFacts({
      env: {},
      proc: '/nonexistent',
      machineIdFile: '/nonexistent',
      tokenFile: '/nonexistent',
    });
    expect(facts).toMatchObject({ bootId: '', machineId: '', nodeUid: '', clusterName: '' });
  });
});

describe('nodeOfToken', () => {
  it.each([
    [BOUND, 'node-a', 'u-1'],
    [token({ 'kubernetes.io': { pod: {} } }), '', ''],
    [token({ 'kubernetes.io': { node: { name: 7, uid: null } } }), '', ''],
    [token({ 'kubernetes.io': { node: 'x' } }), '', ''],
    [token(null), '', ''],
    ['opaque', '', ''],
    ['a.b.c', '', ''],
    ['', '', ''],
  ])('%s', (text, name, uid) => {
    expect(nodeOfToken(text)).toEqual({ name, uid });
  });
});
