import { describe, expect, it } from 'vitest';
import type { Row } from '../../../proto/ndjson.ts';
import { prettyLine } from '../../../src/tail/pretty.ts';

const EXEC: Row = {
  time: '2026-11-22T08:00:01.123456789Z',
  kind: 'process.exec',
  k8s_namespace_name: 'shop',
  k8s_pod_name: 'web-0',
  k8s_container_name: 'nginx',
  process_pid: 4242,
  process_executable_path: '/usr/bin/sh',
  process_command_args: ['sh', '-c', "echo 'a b'"],
  entry: 'exec',
};

describe('a line for people', () => {
  it('says when, what, where and who', () => {
    expect(prettyLine(EXEC, false)).toBe(
      "08:00:01.123 process.exec     shop/web-0:nginx             sh 4242                  /usr/bin/sh  sh -c 'echo '\\''a b'\\''' [injected]",
    );
  });

  it('names the error of what failed', () => {
    const line = prettyLine(
      {
        ...EXEC,
        kind: 'socket.connect',
        network_transport: 'tcp',
        network_local_address: '10.0.0.1',
        network_local_port: 40000,
        network_peer_address: '2001:db8::1',
        network_peer_port: 443,
        error: 'ECONNREFUSED',
      },
      false,
    );
    expect(line).toContain('tcp 10.0.0.1:40000 -> [2001:db8::1]:443 ECONNREFUSED');
  });

  it.each([true, false])('lets nothing through that moves a cursor or turns text around (colour %s)', (colour) => {
    const hostile = '\x1b[2J\u202egnp.exe\n\r\u009b31m\u007f\u0000';
    const row: Record<string, string | string[] | number> = {};
    for (const name of Object.keys(EXEC)) row[name] = hostile;
    for (const kind of [
      'process.exec',
      'file.open',
      'file.rename',
      'socket.connect',
      'kerntap.pod',
      'kerntap.loss',
      hostile,
    ]) {
      const line = prettyLine(
        {
          ...row,
          kind,
          file_path: hostile,
          file_new_path: hostile,
          network_unix_name: hostile,
          process_command_args: [hostile],
        },
        colour,
      );
      // biome-ignore lint/suspicious/noControlCharactersInRegex: the point of the test
      const own = line.replace(/\x1b\[(0|2|3\d)m/g, '');
      // biome-ignore lint/suspicious/noControlCharactersInRegex: the point of the test
      expect(own).not.toMatch(/[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]/);
      if (!colour) expect(line).toBe(own);
    }
  });

  it('keeps to the width of its terminal', () => {
    const line = prettyLine({ ...EXEC, process_command_args: ['x'.repeat(5000)] }, false, 120);
    expect(line).toHaveLength(120);
    expect(line.endsWith('… [injected]')).toBe(true);
  });

  it('says that a process is not known rather than nothing', () => {
    const line = prettyLine(
      { time: EXEC['time'] ?? '', kind: 'socket.close', actor: 'cgroup_only', k8s_node_name: 'n' },
      false,
    );
    expect(line).toContain('[process not known]');
  });
});
