import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { type NodeFacts, settleFacts } from '../../../src/kubernetes/facts.ts';
import { type LocalFactsOptions, nodeOfToken, readLocalFacts } from '../../../src/kubernetes/facts-local.ts';

const dir = mkdtempSync(join(tmpdir(), 'kerntap-facts-'));
afterAll(() => rmSync(dir, { recursive: true }));

function token(claims: unknown): string {
  return `e30.${Buffer.from(JSON.stringify(claims)).toString('base64url')}.sig`;
}

const BOUND = token({ 'kubernetes.io': { namespace: 'x', node: { name: 'node-a', uid: 'u-1' } } });
const IN_POD = { KUBERNETES_SERVICE_HOST: '10.96.0.1' };

function file(name: string, content: string): string {
  writeFileSync(join(dir, name), content);
  return join(dir, name);
}

let trees = 0;

/** A made-up tree: file to content. */
function tree(files: Readonly<Record<string, string>>): string {
  const root = join(dir, `tree-${++trees}`);
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(join(root, name, '..'), { recursive: true });
    writeFileSync(join(root, name), `${content}\n`);
  }
  return root;
}

const dmi = (fields: Readonly<Record<string, string>>) =>
  tree(Object.fromEntries(Object.entries(fields).map(([name, content]) => [`class/dmi/id/${name}`, content])));

/** A machine without firmware tables and files, unless they are given. */
function facts(options: LocalFactsOptions = {}): NodeFacts {
  const local = readLocalFacts({ env: {}, sys: '/nonexistent', etc: '/nonexistent', ...options });
  return settleFacts([...local.told, ...local.seen, ...local.lastResort]);
}

describe('facts that the machine tells', () => {
  it('agree with uname and /proc', () => {
    const uname = (flag: string) => execFileSync('uname', [flag], { encoding: 'utf8' }).trim();
    expect(facts({ values: { clusterName: 'c' } })).toMatchObject({
      bootId: readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim(),
      hostName: uname('-n'),
      nodeName: uname('-n'),
      kernelRelease: uname('-r'),
      architecture: uname('-m'),
      clusterName: 'c',
      sources: {
        boot_id: 'procfs',
        host_name: 'uname',
        node_name: 'uname',
        kernel_release: 'uname',
        architecture: 'uname',
        cluster_name: 'value',
      },
    });
  });

  it('take the node name from the flag, the environment, the token, the host name, in that order', () => {
    const tokenFile = file('token', BOUND);
    const env = { NODE_NAME: 'by-env' };
    const named = { nodeName: 'by-flag', nodeUid: '', sources: { node_name: 'value' } };
    expect(facts({ nodeName: 'by-flag', env, tokenFile })).toMatchObject(named);
    expect(facts({ env, tokenFile })).toMatchObject({ nodeName: 'by-env', nodeUid: '' });
    const bound = { nodeName: 'node-a', nodeUid: 'u-1', sources: { node_name: 'token', node_uid: 'token' } };
    expect(facts({ tokenFile })).toMatchObject(bound);
  });

  it('are not those of the pod that the agent is in', () => {
    const etc = tree({ 'machine-id': 'of-the-image', 'os-release': 'PRETTY_NAME="of the image"' });
    const env = { ...IN_POD, NODE_NAME: 'node-a' };
    expect(facts({ env, etc })).toMatchObject({
      nodeIps: [],
      machineId: '',
      hostId: '',
      osDescription: '',
      hostName: 'node-a',
      sources: { host_name: 'node_name' },
    });
    const told = { ...env, NODE_IPS: '10.0.0.1, fd00::1,', NODE_REGION: 'eu-west-1', NODE_ZONE: 'eu-west-1b' };
    expect(facts({ env: told })).toMatchObject({
      nodeIps: ['10.0.0.1', 'fd00::1'],
      cloudRegion: 'eu-west-1',
      cloudAvailabilityZone: 'eu-west-1b',
      sources: { node_ips: 'environment', cloud_region: 'environment' },
    });
  });

  it('are the files of a host that is no pod', () => {
    const etc = tree({ 'machine-id': 'abc', 'os-release': 'NAME=x\nPRETTY_NAME="Some \\"OS\\" 12"\nID=x' });
    const found = facts({ etc });
    expect(found).toMatchObject({ machineId: 'abc', hostId: 'abc', osDescription: 'Some "OS" 12' });
    expect(found.sources).toMatchObject({ host_id: 'machine_id', os_description: 'os_release' });
    expect(found.nodeIps).not.toContain('127.0.0.1');
    expect(facts({ etc: tree({ 'os-release': 'PRETTY_NAME=Plain' }) }).osDescription).toBe('Plain');
  });

  it('stay empty, without a source, where nothing can be read', () => {
    const found = facts({ proc: '/nonexistent', tokenFile: '/nonexistent' });
    expect(found).toMatchObject({
      bootId: '',
      machineId: '',
      hostId: '',
      nodeUid: '',
      clusterName: '',
      cloudRegion: '',
    });
    expect(Object.keys(found.sources).sort()).toEqual([
      'architecture',
      'host_name',
      'kernel_release',
      'node_ips',
      'node_name',
    ]);
  });
});

describe('facts of the firmware', () => {
  const EC2 = {
    sys_vendor: 'Amazon EC2',
    board_asset_tag: 'i-0b6801031945d832a',
    product_uuid: 'ec2a1b2c-0000-4000-8000-00000000000a',
  };

  it.each([
    ['an EC2 instance (Nitro)', EC2, 'aws', 'i-0b6801031945d832a'],
    ['an EC2 instance (Xen)', { sys_vendor: 'Xen', bios_version: '4.11.amazon' }, 'aws', ''],
    ['a GCE instance', { sys_vendor: 'Google', product_name: 'Google Compute Engine' }, 'gcp', ''],
    [
      'an Azure machine',
      { sys_vendor: 'Microsoft Corporation', chassis_asset_tag: '7783-7084-3265-9085-8269-3286-77' },
      'azure',
      '',
    ],
    ['an Alibaba instance', { product_name: 'Alibaba Cloud ECS' }, 'alibaba_cloud', ''],
    ['an Oracle instance', { chassis_asset_tag: 'OracleCloud.com' }, 'oracle_cloud', ''],
    ['a Tencent instance', { sys_vendor: 'Tencent Cloud' }, 'tencent_cloud', ''],
    [
      'a Hyper-V machine',
      { sys_vendor: 'Microsoft Corporation', product_uuid: 'ABCDEF00-0000-4000-8000-00000000000A' },
      '',
      'abcdef00-0000-4000-8000-00000000000a',
    ],
    [
      'a board whose maker set no UUID',
      { sys_vendor: 'X', product_uuid: '03000200-0400-0500-0006-000700080009' },
      '',
      '',
    ],
    ['a board with another text there', { product_uuid: 'Not Settable' }, '', ''],
  ])('tell %s', (_what, fields, provider, hostId) => {
    const found = facts({ env: { ...IN_POD, NODE_NAME: 'n' }, sys: dmi(fields) });
    expect(found).toMatchObject({ cloudProvider: provider, hostId });
    expect(found.sources['cloud_provider']).toBe(provider === '' ? undefined : 'dmi');
  });

  it('win over the machine id with the instance, not with the UUID', () => {
    const etc = tree({ 'machine-id': 'abc' });
    expect(facts({ etc, sys: dmi(EC2) }).hostId).toBe('i-0b6801031945d832a');
    const plain = dmi({ sys_vendor: 'Dell Inc.', product_uuid: '4c4c4544-0000-4000-8000-00000000000a' });
    expect(facts({ etc, sys: plain }).hostId).toBe('abc');
  });

  it('give way to values', () => {
    const values = { hostId: 'rack-7', cloudProvider: 'own', cloudAccountId: '42' };
    const found = facts({ values, sys: dmi(EC2) });
    expect(found).toMatchObject(values);
    expect(found.sources).toMatchObject({ host_id: 'value', cloud_provider: 'value', cloud_account_id: 'value' });
  });
});

describe('settleFacts', () => {
  it('takes each fact from the first that knows it, and bounds what it takes', () => {
    const found = settleFacts([
      { source: 'value', facts: { cloudRegion: '', nodeIps: [] } },
      { source: 'node_object', facts: { cloudRegion: 'r'.repeat(1000), nodeIps: Array(100).fill('10.0.0.1') } },
      { source: 'dmi', facts: { cloudRegion: 'later' } },
    ]);
    expect(found.cloudRegion).toHaveLength(256);
    expect(found.nodeIps).toHaveLength(16);
    expect(found.sources).toEqual({ cloud_region: 'node_object', node_ips: 'node_object' });
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
