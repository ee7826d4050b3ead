import { expect, it } from 'vitest';
import { debianKernel, type Suite } from './debian-kernel.ts';
import { guestScript, nativeFiles } from './product.ts';
import { bootVm } from './vm.ts';

/** One program as guest/load-objects.mjs found it. */
interface Finding {
  readonly object: string;
  readonly name: string;
  readonly section: string;
  readonly loaded: boolean;
  readonly attached: boolean;
  readonly reason: string;
}

/** Hooks that these kernels do not have: what is needed there has another program. */
const missingHooks: Readonly<Record<string, RegExp>> = {
  bullseye: /do_file_open$|fchmodat2$/, // do_filp_open's name since 6.19; system call since 6.6
  bookworm: /do_file_open$|fchmodat2$/,
  trixie: /do_file_open$/,
};

it.each<[Suite, 'fast' | 'legacy']>([
  ['bullseye', 'legacy'],
  ['bookworm', 'legacy'],
  ['trixie', 'fast'],
])('every program of every object loads and attaches on the kernel of %s (%s)', async (suite, build) => {
  const script = guestScript('load-objects.mjs');
  const vm = await bootVm({
    kernel: await debianKernel(suite),
    files: { ...nativeFiles(), ...script.files },
    command: ['node', script.path, build],
    deadlineMs: 300_000,
  });
  expect(vm.console.match(/BUG:|WARNING:|Oops|general protection/)).toBeNull();
  const findings = vm.stdout
    .trimEnd()
    .split('\n')
    .map((line): Finding => JSON.parse(line));
  const families = new Set(findings.map(({ object }) => object.split('.')[0]));
  expect([...families].sort()).toEqual(['core', 'file', 'process', 'socket']);
  const refused = findings.filter(({ loaded, attached, section, name }) => {
    const runs = section === 'raw_tp' || section.startsWith('iter');
    return !(loaded && (attached || runs)) && !missingHooks[suite]?.test(name);
  });
  expect(refused.map(({ object, name, reason }) => `${object} ${name}: ${reason}`)).toEqual([]);
});
