import { describe, expect, it } from 'vitest';
import { agentOptions } from '../../../src/cli/agent.ts';
import { UsageError } from '../../../src/cli/flags.ts';

const ENV = { HOME: '/home/u', NODE_NAME: 'node-7' };
const parse = (...args: string[]) => agentOptions(args, ENV);

function refusal(...args: string[]): string {
  try {
    parse(...args);
  } catch (error) {
    if (error instanceof UsageError) return error.message;
    throw error;
  }
  throw new Error(`accepted: ${args.join(' ')}`);
}

describe('the flags of kerntap agent', () => {
  it('has the defaults of the contract', () => {
    expect(parse('--collector', 'collector:4750')).toMatchObject({
      standalone: false,
      endpoints: ['collector:4750'],
      // From the environment, by those who read the node's facts.
      nodeName: undefined,
      clusterName: '',
      ringBytes: 8 << 20,
      procDir: '/proc',
      config: undefined,
      settings: {
        probes: { 'process.exec': 'on', 'file.open': 'sensitive', 'socket.unix': 'sensitive' },
        failedOpens: false,
        argv: { capBytes: 8192 },
        tail: {
          enabled: true,
          kinds: ['process.exec', 'socket.connect', 'file.open', 'kerntap.loss', 'kerntap.pod', 'kerntap.probe'],
          eventsPerSecond: 20,
          bytesPerSecond: 16384,
          sensitiveFilesOnly: true,
        },
        budgets: { containerEventsPerSecond: 1000, nodeEventsPerSecond: 5000, burstSeconds: 10, cpuCores: 0.25 },
      },
    });
  });

  it('shows everything, sheds nothing and writes into the state folder in standalone', () => {
    expect(parse('--standalone')).toMatchObject({
      settings: {
        tail: {
          kinds: ['process', 'file', 'socket', 'kerntap'],
          eventsPerSecond: 0,
          bytesPerSecond: 0,
          sensitiveFilesOnly: false,
        },
        budgets: { containerEventsPerSecond: 0, nodeEventsPerSecond: 0, cpuCores: 0 },
      },
      outDir: '/home/u/.local/state/kerntap/events',
    });
    expect(agentOptions(['--standalone'], { XDG_STATE_HOME: '/state' })?.outDir).toBe('/state/kerntap/events');
  });

  it('speaks TLS where a file or a name of it is given, or where that is said', () => {
    const tls = (...args: string[]) => parse('--collector', 'c:1', ...args)?.tls;
    expect(tls()).toBeUndefined();
    expect(tls('--collector-tls')).toEqual({ paths: {}, serverName: undefined, section: 'collector.tls' });
    expect(tls('--collector-server-name', 'c')?.serverName).toBe('c');
    expect(
      tls('--collector-ca-file', '/ca', '--collector-cert-file', '/c', '--collector-key-file', '/k'),
    ).toMatchObject({
      paths: {
        ca: { path: '/ca', setting: 'collector.tls.caFile' },
        cert: { path: '/c', setting: 'collector.tls.certFile' },
        key: { path: '/k', setting: 'collector.tls.keyFile' },
      },
    });
    expect(refusal('--collector', 'c:1', '--collector-cert-file', '/c')).toMatch(/need each other/);
    expect(parse('--standalone', '--collector-tls')?.tls).toBeUndefined();
  });

  it('compresses the stream where that is said', () => {
    expect(parse('--collector', 'c:1')?.settings.collector.compression).toBe('none');
    expect(parse('--collector', 'c:1', '--compression', 'gzip')?.settings.collector.compression).toBe('gzip');
    expect(refusal('--collector', 'c:1', '--compression', 'zstd')).toMatch(/not one of none, gzip/);
  });

  it('takes kinds by name and by family', () => {
    const { probes } = parse('--standalone', '--kinds', 'file.open,process')?.settings ?? {};
    const on = Object.entries(probes ?? {}).filter(([name, state]) => name !== 'socket.unix' && state !== 'off');
    expect(Object.fromEntries(on)).toEqual({
      'process.exec': 'on',
      'process.exit': 'on',
      'process.io_uring': 'on',
      'file.open': 'sensitive',
    });
  });

  it('--all is everything', () => {
    expect(parse('--standalone', '--all')).toMatchObject({
      settings: { probes: { 'file.open': 'all', 'socket.unix': 'all' }, failedOpens: true },
    });
  });

  it('takes sizes with units', () => {
    expect(parse('--standalone', '--ring-bytes=64Ki', '--argv-cap', '1Ki')).toMatchObject({
      ringBytes: 65536,
      settings: { argv: { capBytes: 1024 } },
    });
  });

  it.each([
    [['--standalone', '--colector', 'x:1'], /unknown flag: --colector \(did you mean --collector\?\)/],
    [['--standalone', '-x'], /unknown flag: -x/],
    [['--standalone', 'extra'], /unexpected argument: extra/],
    [[], /--collector HOST:PORT, --otlp HOST:PORT or --standalone is needed/],
    [['--otlp', 'localhost'], /--otlp: 'localhost' is not HOST:PORT/],
    [['--collector', 'localhost'], /--collector: 'localhost' is not HOST:PORT/],
    [['--collector', 'localhost:99999'], /--collector: .*port 1 to 65535/],
    [['--collector', '--json'], /--collector needs a value: HOST:PORT/],
    [['--collector'], /--collector needs a value/],
    [['--collector', ''], /--collector must not be empty/],
    [['--standalone', '--collector', 'a:1'], /leave out --collector/],
    [['--collector', 'a:1', '--out', '/x'], /--out belongs to --standalone/],
    [
      ['--standalone', '--kinds', 'process.exce'],
      /--kinds: 'process.exce' is not a kind \(did you mean process.exec\?\); known: process.exec, /,
    ],
    [['--standalone', '--kinds', ''], /--kinds must not be empty/],
    [['--standalone', '--kinds', 'file.open,'], /--kinds: '' is not a kind/],
    [
      ['--standalone', '--open-mode', 'senstive'],
      /--open-mode: 'senstive' is not one of off, writes, sensitive, all \(did you mean sensitive\?\)/,
    ],
    [['--standalone', '--all', '--open-mode', 'off'], /--all says what --open-mode would/],
    [['--standalone', '--argv-cap', '9'], /--argv-cap: '9' is not a number of bytes .* from 64 to 16384/],
    [['--standalone', '--ring-bytes', '100000'], /--ring-bytes: 100000 is not a power of two/],
    [['--standalone', '--tail-rate', '-1'], /--tail-rate: '-1' is not a whole number from 0/],
    [['--standalone', '--tail-rate=1e3'], /--tail-rate: '1e3' is not a whole number/],
    [['--standalone', '--tail', 'yes'], /--tail: 'yes' is not one of on, off/],
    [['--standalone', '--json=1'], /--json takes no value, got '1'/],
    [['--standalone', '--json', '--json'], /--json is given twice/],
    [['--standalone', '--node-labels', 'pool'], /--node-labels: 'pool' is not NAME=VALUE/],
    [['--standalone', '--kubelet', 'http://node:10250'], /--kubelet: .* is not a URL such as https:/],
    [['--standalone', '--kubelet-ca-file', '/ca'], /--kubelet-ca-file needs --kubelet/],
  ])('refuses %j and says what it takes', (args, message) => {
    expect(refusal(...args)).toMatch(message);
  });
});
