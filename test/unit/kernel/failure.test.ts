import { expect, test } from 'vitest';
import { codeOf, reasonOf } from '../../../src/kernel/failure.ts';
import { loadAddon } from '../../../src/kernel/native.ts';
import { addonError } from './fake-addon.ts';

test.each([
  [
    "load /x/file.bpf.o: Operation not permitted\nlibbpf: prog 'p': BPF program load failed: Operation not permitted\nlibbpf: permission error",
    "EPERM: prog 'p': BPF program load failed: Operation not permitted",
  ],
  [
    'load /x: no\n12: (85) call bpf_x#1\ninvalid write to stack R1 off=-32 size=255\nprocessed 61 insns (limit 1000000)\n-- END PROG LOAD LOG --',
    'EPERM: invalid write to stack R1 off=-32 size=255',
  ],
  ['kt_x: No such file or directory', 'EPERM: kt_x: No such file or directory'],
])('the telling line of %j', (message, reason) => {
  expect(reasonOf(addonError('EPERM', message))).toBe(reason);
});

test('whatever is thrown has a reason', () => {
  expect(reasonOf('text')).toBe('text');
  expect(reasonOf(undefined)).toBe('undefined');
  expect(reasonOf(new Error(''))).toBe('');
  expect(reasonOf(new Error('x'.repeat(5000)))).toHaveLength(300);
  expect(codeOf(Object.assign(new Error('x'), { code: 5 }))).toBe('');
});

test('an addon that is not built, or is none, is said to be so', () => {
  expect(() => loadAddon('/nonexistent/kerntap.node')).toThrow(/not built.*npm run build/);
  expect(() => loadAddon('/etc/passwd')).toThrow(/does not load/);
});
