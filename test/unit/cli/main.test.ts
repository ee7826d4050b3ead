import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';

const MAIN = 'dist/src/cli/main.js';

function kerntap(...args: string[]) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [MAIN, ...args], { encoding: 'utf8' });
  return { status, stdout, stderr };
}

describe('kerntap', () => {
  it('tells its version', () => {
    const { version } = JSON.parse(readFileSync('package.json', 'utf8'));
    expect(kerntap('--version')).toEqual({ status: 0, stdout: `kerntap ${version}\n`, stderr: '' });
  });

  it('lists the commands that exist, and each of them explains itself', () => {
    const help = kerntap('--help');
    expect(help.status).toBe(0);
    const commands = [...help.stdout.matchAll(/^ {2}([a-z]+) {2,}/gm)].map((match) => match[1] ?? '');
    expect(commands).toEqual(expect.arrayContaining(['agent', 'collector', 'doctor']));
    for (const command of commands) {
      const own = kerntap(command, '--help');
      expect(own, command).toMatchObject({ status: 0, stderr: '' });
      expect(own.stdout).toMatch(new RegExp(`^Usage: kerntap ${command} `));
    }
  });

  it.each([
    [['agnet'], /unknown command: agnet \(did you mean agent\?\)/],
    [['--verison'], /unknown flag: --verison/],
    [[], /a command is missing/],
    [['toString'], /unknown command: toString\n/],
    [['agent', '--standalon'], /unknown flag: --standalon \(did you mean --standalone\?\)/],
    [['collector', '--port', '1'], /unknown flag: --port/],
    [['doctor', '--jsn'], /unknown flag: --jsn \(did you mean --json\?\)/],
  ])('refuses %j with 2 and says why, on stderr only', (args, message) => {
    const result = kerntap(...args);
    expect(result.status).toBe(2);
    expect(result.stderr).toMatch(message);
    expect(result.stderr).toContain('kerntap --help');
    expect(result.stdout).toBe('');
  });
});
