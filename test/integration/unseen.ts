/**
 * What the system-call tiers cannot see, by program and act, and why. The truth table asserts that it is unseen: a tier
 * that begins to see one fails the test, and the line goes.
 */
export const UNSEEN_BY_SYSCALL_TIERS: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  open: {
    'int80-open': '32-bit system calls have a table and tracepoints of their own',
  },
  close: {
    'by-close-range': 'only close(2) ends a descriptor where this tier looks',
    'by-dup2': 'dup2 over an open descriptor closes it inside the kernel',
    'by-munmap': 'the last reference was a mapping',
    'by-exit': 'descriptors that a process leaves open go inside exit',
  },
  uring: {
    openat: 'io_uring does not pass through system calls; process.io_uring makes the blindness visible',
  },
};

/** Acts of one program that are not seen. */
export function unseenActs(program: string): ReadonlySet<string> {
  return new Set(Object.keys(UNSEEN_BY_SYSCALL_TIERS[program] ?? {}));
}
