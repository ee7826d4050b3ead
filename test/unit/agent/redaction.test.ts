import { createHmac } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { decodeBatch } from '../../../proto/contract.ts';
import { ExecRewriter } from '../../../src/agent/exec-rewriter.ts';
import { Redaction } from '../../../src/agent/redaction.ts';
import { DEFAULT_SECRET_NAMES } from '../../../src/config/secret-names.ts';
import { HEAD } from '../../../src/kernel/layout.gen.ts';
import { makeWorkload } from '../../../src/kubernetes/workload.ts';
import { batchBytes } from '../../../src/stream/batch.ts';
import { BatchEncoder } from '../../../src/stream/encoder.ts';
import { ProcessTable } from '../../../src/stream/processes.ts';
import { drainBuffer, kernelPath, makeExec, makeHead, recordBytes } from '../../records.ts';

const KEY = Buffer.from('0123456789abcdef');
const redaction = new Redaction({ patterns: DEFAULT_SECRET_NAMES, key: KEY });
const SECRET = 'hunter2-Sup3r';
const JWT = `eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJlLXg`;

/** Command lines with SECRET in them. */
const PLANTED: readonly string[][] = [
  ['app', `--password=${SECRET}`],
  ['app', '--password', SECRET, '--verbose'],
  ['app', '--db-password', SECRET],
  ['app', '-password', SECRET],
  ['app', `--PASSWORD=${SECRET}`],
  ['app', '--pass', SECRET],
  ['app', `--token=${SECRET}`],
  ['app', `token=${SECRET}`],
  ['app', `--api-key=${SECRET}`],
  ['app', `--apiKey=${SECRET}`],
  ['env', `AWS_SECRET_ACCESS_KEY=${SECRET}`, 'aws', 's3', 'ls'],
  ['docker', 'run', '-e', `DB_PASSWORD=${SECRET}`, 'postgres'],
  ['docker', 'login', '-u', 'bob', '-p', SECRET, 'registry'],
  ['kubectl', 'create', 'secret', 'generic', 'x', `--from-literal=password=${SECRET}`],
  ['helm', 'upgrade', 'x', '--set', `auth.password=${SECRET},replicas=2`],
  ['java', `-Djavax.net.ssl.keyStorePassword=${SECRET}`],
  ['mysql', '-u', 'root', `-p${SECRET}`, 'shop'],
  ['/usr/bin/mysqldump', `-p${SECRET}`],
  ['sshpass', '-p', SECRET, 'ssh', 'host'],
  ['sshpass', `-p${SECRET}`, 'ssh', 'host'],
  ['redis-cli', '-a', SECRET, 'ping'],
  ['ldapsearch', '-w', SECRET],
  ['useradd', '-p', SECRET, 'bob'],
  ['curl', '-u', `bob:${SECRET}`, 'https://x'],
  ['curl', `-ubob:${SECRET}`, 'https://x'],
  ['curl', `--user=bob:${SECRET}`, 'https://x'],
  ['curl', '-H', `Authorization: Bearer ${SECRET}`, 'https://x'],
  ['curl', '-H', `authorization: ${SECRET}`, 'https://x'],
  ['curl', '-H', `X-Api-Key: ${SECRET}`, 'https://x'],
  ['curl', '-H', `X-Auth-Token:${SECRET}`, 'https://x'],
  ['curl', `https://bob:${SECRET}@host/path?x=1`],
  ['curl', `https://host/?access_token=${SECRET}&page=2`],
  ['curl', '-d', `{"user":"bob","password":"${SECRET}"}`],
  ['curl', '-d', `{"user": "bob", "password": "${SECRET}", "x": 1}`],
  ['psql', `postgres://app:${SECRET}@db:5432/shop`],
  ['openssl', 'enc', '-pass', `pass:${SECRET}`],
  ['openssl', 'rsa', '-passin', `pass:${SECRET}`],
  ['sh', '-c', `mysql -u root -p${SECRET} shop < dump.sql`],
  ['sh', '-c', `export DB_PASSWORD=${SECRET}; run`],
  ['sh', '-c', `login --password ${SECRET} && run`],
  ['sh', '-c', `login --password '${SECRET}'`],
  ['node', '-e', `spawn("login", ["--password", "${SECRET}"])`],
  ['python3', '-c', `run(['login','--password','${SECRET}'])`],
  ['bash', '-ec', `curl -H "Authorization: Basic ${SECRET}" https://x`],
  ['sh', '-c', `sshpass -p ${SECRET} ssh host`],
  ['app', `--password=${SECRET} ${SECRET} and ${SECRET}`],
  ['app', `--password=a&b,c;${SECRET}`],
  ['app', '--passphrase', `${SECRET}\n${SECRET}`],
];

/** Well-known formats, wherever they stand. */
const SHAPED = [
  `ghp_${'a1'.repeat(18)}`,
  `github_pat_${'a1'.repeat(20)}`,
  `glpat-${'x'.repeat(20)}`,
  `xoxb-${'1'.repeat(12)}-abc`,
  `sk-${'A'.repeat(40)}`,
  `hvs.${'B'.repeat(24)}`,
  `npm_${'c'.repeat(36)}`,
  JWT,
];

/** What hunts need to see as it was. */
const PLAIN: readonly string[][] = [
  ['ls', '-la', '/etc/passwd'],
  ['cat', '/run/secrets/db'],
  ['kubectl', 'get', 'secrets', '-A'],
  ['mkdir', '-p', '/a/b'],
  ['ssh', '-p', '22', 'host'],
  ['docker', 'run', '-p', '80:80', 'nginx'],
  ['curl', '-u', 'bob', 'https://host:8443/path'],
  ['curl', 'https://host/path@v1'],
  ['npm', 'install', '--registry', 'https://registry:4873/@scope/pkg'],
  ['app', '--password-file=/run/secrets/x', '--token-path', '/var/token'],
  ['env', 'PASSWORD_FILE=/run/x'],
  ['git', 'clone', 'git@github.com:a/b.git'],
  ['aws', 'configure', 'set', 'aws_access_key_id', 'AKIAIOSFODNN7EXAMPLE'],
  ['app', '--password', '--verbose'],
  ['app', '--password='],
  ['', ''],
  [],
];

describe('redaction of a command line', () => {
  it.each(PLANTED.map((argv) => [argv]))('takes the secret out of %j', (argv) => {
    const out = redaction.args(argv);
    expect(out.join('\0')).not.toContain(SECRET);
    expect(out.join('\0')).toMatch(/<redacted:[0-9a-f]{16}>/);
    expect(out).toHaveLength(argv.length);
    expect(redaction.mayHold(argv.join('\0'))).toBe(true);
    // What has no secret in it stays.
    for (const [i, arg] of argv.entries()) if (!arg.includes(SECRET)) expect(out[i]).toBe(arg);
    expect(redaction.args(out)).toEqual(out);
  });

  it.each(SHAPED)('knows %s anywhere', (token) => {
    for (const argv of [
      ['app', token],
      ['app', `x=${token}`],
      ['sh', '-c', `echo ${token} | app`],
    ]) {
      const out = redaction.args(argv).join('\0');
      expect(out).not.toContain(token.slice(4));
      expect(redaction.mayHold(argv.join('\0'))).toBe(true);
    }
  });

  it('takes a private key out to its end', () => {
    const key = '-----BEGIN RSA PRIVATE KEY-----\nMIIabc\nDEF\n-----END RSA PRIVATE KEY-----';
    const out = redaction.args(['app', key]).join('');
    expect(out).not.toMatch(/MIIabc|DEF/);
    expect(out).toMatch(/-----END RSA PRIVATE KEY-----$/);
  });

  it.each(PLAIN.map((argv) => [argv]))('leaves %j', (argv) => {
    expect(redaction.args(argv)).toEqual(argv);
  });

  it('keeps what stands around a secret', () => {
    expect(redaction.args(['curl', `https://bob:${SECRET}@host/path?x=1`])[1]).toMatch(
      /^https:\/\/bob:<redacted:[0-9a-f]{16}>@host\/path\?x=1$/,
    );
    expect(redaction.args(['curl', `https://h/?access_token=${SECRET}&page=2`])[1]).toMatch(/>&page=2$/);
    expect(redaction.args(['sh', '-c', `DB_PASSWORD=${SECRET} run --fast`])[2]).toMatch(/> run --fast$/);
  });

  it('hashes by the key: equal secrets are equal, wherever they stand; other keys give other hashes', () => {
    const hash = createHmac('sha256', KEY).update(SECRET).digest('hex').slice(0, 16);
    for (const argv of [
      ['a', `--password=${SECRET}`],
      ['a', '--token', SECRET],
      ['a', `x://u:${SECRET}@h`],
    ]) {
      expect(redaction.args(argv).join(' ')).toContain(`<redacted:${hash}>`);
    }
    const other = new Redaction({ patterns: DEFAULT_SECRET_NAMES, key: Buffer.alloc(16) });
    expect(other.mark(SECRET)).not.toBe(redaction.mark(SECRET));
  });

  it('takes patterns of its own: words, and texts before the secret', () => {
    const own = new Redaction({ patterns: ['pin', '--key-phrase *', 'X-Magic=*'], key: KEY });
    expect(own.args(['a', '--pin', '1234', '--key-phrase', 'abc', 'X-Magic=def', '--password=ok']).join(' ')).toMatch(
      /^a --pin <redacted:\w+> --key-phrase <redacted:\w+> X-Magic=<redacted:\w+> --password=ok$/,
    );
    expect(new Redaction({ patterns: [], key: KEY }).args(['a', '--password=x'])).toEqual(['a', '--password=x']);
  });

  it('takes a pattern by its letters, not as an expression', () => {
    const own = new Redaction({ patterns: ['a.b', '(x+)+*'], key: KEY });
    expect(own.args(['p', 'aXb=1', 'a.b=1', '(x+)+secret']).join(' ')).toMatch(/^p aXb=1 a\.b=<.*> \(x\+\)\+<.*>$/);
  });

  it('costs little whatever is passed', () => {
    const hostile = [
      'eyJ-',
      '://',
      '--a',
      'password',
      'mysql ',
      '--password ',
      '"',
      'token:',
      'bearer ',
      'a=',
      '-p',
      '{"',
    ];
    for (const part of hostile) {
      const text = part.repeat(Math.ceil(16_384 / part.length)).slice(0, 16_384);
      const from = performance.now();
      redaction.args(['mysql', text]);
      redaction.args(['sh', '-c', text]);
      redaction.args(['x', `${text} `, `password=${text}`]);
      expect(performance.now() - from, JSON.stringify(part)).toBeLessThan(2000);
    }
  });
});

describe('a rewritten exec record', () => {
  const workload = makeWorkload({ cgroupId: 1n, cgroupPath: '/', state: 'host', reason: '' });

  function sent(argv: Buffer, { env = '', allowEnv = [] as string[], argvOrigLen = argv.length, on = true } = {}) {
    const rewriter = new ExecRewriter({ redaction: on ? redaction : undefined, allowEnv });
    const body = makeExec({
      exe: kernelPath('/usr/bin/app'),
      cwd: kernelPath('/srv'),
      filename: Buffer.from('app'),
      tty: Buffer.from('pts/0'),
      argv,
      env: Buffer.from(env, 'latin1'),
      argvOrigLen,
      argc: 9,
    });
    const { bytes, offsets } = drainBuffer([recordBytes({ head: makeHead({ tgid: 5 }), body })]);
    const offset = offsets[0] ?? 0;
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    const before = Buffer.from(bytes);
    const length = rewriter.rewrite(bytes, view, offset, view.getUint32(offset + HEAD.len, true));
    expect(Buffer.from(bytes)).toEqual(before);
    const encoder = new BatchEncoder({ runId: new Uint8Array(16), processes: new ProcessTable() });
    expect(encoder.add(length > 0 ? rewriter.buf : bytes, length > 0 ? 0 : offset, workload)).toBe(1);
    const batch = encoder.finish(0n);
    if (batch === undefined) throw new Error('no batch');
    const exec = decodeBatch(batchBytes(batch)).events[0]?.processExec;
    return { exec, length, rewriter, args: exec?.argv?.map((arg) => Buffer.from(arg).toString('latin1')) };
  }

  const block = (...args: string[]) => Buffer.from(args.map((arg) => `${arg}\0`).join(''), 'latin1');

  it('has everything but the secret, byte for byte', () => {
    const { exec, args, rewriter } = sent(block('app', `--password=${SECRET}`, '\xff\xfe\x01', ''));
    expect(args).toEqual(['app', expect.stringMatching(/^--password=<redacted:\w{16}>$/), '\xff\xfe\x01', '']);
    expect(exec).toMatchObject({ argc: 9, argvTruncated: false });
    expect(Buffer.from(exec?.exe?.path ?? []).toString()).toBe('/usr/bin/app');
    expect(Buffer.from(exec?.tty ?? []).toString()).toBe('pts/0');
    expect(rewriter.redacted).toBe(1);
  });

  it('does not tell how long the secret was', () => {
    const lengths = ['x', SECRET, 'y'.repeat(500)].map(
      (secret) => sent(block('app', `--token=${secret}`)).exec?.argvLength,
    );
    expect(new Set(lengths).size).toBe(1);
  });

  it('stays marked as cut where it was, also when the mark is longer than the secret', () => {
    const cut = Buffer.from(`app\0--token=${SECRET}`, 'latin1');
    const { exec, args } = sent(cut, { argvOrigLen: cut.length + 5 });
    expect(args).toEqual(['app', expect.stringMatching(/^--token=<redacted:\w{16}>$/)]);
    expect(exec?.argvTruncated).toBe(true);
    const many = block('mysql', ...Array.from({ length: 3000 }, () => '-px'));
    const grown = sent(many);
    expect(grown.exec?.argvTruncated).toBe(true);
    expect(grown.args?.join('')).not.toMatch(/-px/);
  });

  it('is left alone where there is nothing to do', () => {
    expect(sent(block('ls', '-la')).length).toBe(0);
    expect(sent(block('app', `--password=${SECRET}`), { on: false }).length).toBe(0);
  });

  it('keeps only the variables that are allowed, without their secrets', () => {
    const env = `PATH=/bin\0AWS_PROFILE=prod\0AWS_SECRET_ACCESS_KEY=${SECRET}\0LD_PRELOAD=/x.so\0LD_PRELOADX=1\0LD_PRELO`;
    const { exec } = sent(block('app'), { env, allowEnv: ['LD_PRELOAD', 'AWS_*'] });
    expect(exec?.env?.map((entry) => Buffer.from(entry).toString())).toEqual([
      'AWS_PROFILE=prod',
      expect.stringMatching(/^AWS_SECRET_ACCESS_KEY=<redacted:\w{16}>$/),
      'LD_PRELOAD=/x.so',
    ]);
    expect(sent(block('app'), { env }).exec?.env ?? []).toEqual([]);
  });

  it('refuses to rewrite lengths that do not add up', () => {
    const rewriter = new ExecRewriter({ redaction, allowEnv: [] });
    const random = Buffer.alloc(4096);
    for (let seed = 1; seed < 2000; seed++) {
      for (let i = 0; i < random.length; i++) random[i] = (Math.imul(seed * 31 + i, 0x9e3779b1) >>> 13) & 255;
      const view = new DataView(random.buffer, random.byteOffset, random.length);
      expect(rewriter.rewrite(random, view, 0, 200 + (seed % 3000))).toBe(0);
    }
  });
});
