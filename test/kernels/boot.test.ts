import { describe, expect, it } from 'vitest';
import { debianKernel, type Suite } from './debian-kernel.ts';
import { bootVm } from './vm.ts';

const releases: [Suite, string][] = [
  ['bullseye', '5.10.'],
  ['bookworm', '6.1.'],
  ['trixie', '6.12.'],
];

describe('the test machine', () => {
  it.each(releases)('boots the cloud kernel of %s with BTF and runs Node', async (suite, prefix) => {
    const kernel = await debianKernel(suite);
    const script = `
      console.log(JSON.stringify([os.release(), os.availableParallelism(), process.getuid()]));
      console.log(fs.existsSync('/sys/kernel/btf/vmlinux'), fs.existsSync('/sys/kernel/tracing/events/syscalls'));`;
    const vm = await bootVm({ kernel, command: ['node', '-e', script] });
    const [facts, present] = vm.stdout.trimEnd().split('\n');
    expect(JSON.parse(facts ?? '')).toEqual([kernel.release, 2, 0]);
    expect(present).toBe('true true');
    expect(kernel.release.startsWith(prefix)).toBe(true);
    expect(vm.exitCode).toBe(0);
  });

  it('passes on status, signal, a missing command, and bytes as they are', async () => {
    const kernel = await debianKernel('trixie');
    const exits = await bootVm({
      kernel,
      command: ['node', '-e', 'console.log("a\\r\\n\\x1b[1m\\u2028"); process.exit(3)'],
    });
    expect([exits.exitCode, exits.stdout]).toEqual([3, 'a\r\n\x1b[1m\u2028\n']);
    const killed = await bootVm({ kernel, command: ['node', '-e', 'process.kill(process.pid, "SIGTERM")'] });
    expect(killed.exitCode).toBe(128 + 15);
    const missing = await bootVm({ kernel, command: ['/no/such'] });
    expect([missing.exitCode, missing.console]).toEqual([127, expect.stringContaining('/no/such: No such file')]);
  });

  it('ends a command with only the capabilities that it was left', async () => {
    const vm = await bootVm({
      kernel: await debianKernel('trixie'),
      command: ['with-caps', 'BPF,PERFMON', 'node', '-p', 'fs.readFileSync("/proc/self/status", "utf8")'],
    });
    expect(vm.stdout).toMatch(/^CapEff:\t000000c000000000$/m);
    expect(vm.stdout).toMatch(/^CapBnd:\t000000c000000000$/m);
    expect(vm.stdout).toMatch(/^NoNewPrivs:\t1$/m);
    expect(vm.stdout).toMatch(/^Uid:\t0\t0\t0\t0$/m);
  });

  it('gives up at its deadline and on a machine that dies, and shows the console', async () => {
    const kernel = await debianKernel('trixie');
    const hang = bootVm({ kernel, command: ['node', '-e', 'setInterval(() => {}, 1e6)'], deadlineMs: 15_000 });
    await expect(hang).rejects.toThrow(/not finished within 15 s/);
    const crash = "fs.writeFileSync('/proc/sysrq-trigger', 'c')";
    await expect(bootVm({ kernel, command: ['node', '-e', crash] })).rejects.toThrow(/no exit status[\s\S]*sysrq/i);
  });
});
