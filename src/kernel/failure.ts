/** The errno name that the addon put on an error, or ''. */
export function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : '';
}

const REASON_MAX = 300;

/**
 * One line for people of an error of the addon: its code and the line of libbpf's or the verifier's text that tells
 * most. The whole text stays in the error.
 */
export function reasonOf(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  const lines = message.split('\n');
  const verdict = lines.findIndex((line) => /^processed \d+ insns/.test(line));
  const line =
    (verdict > 0 ? lines[verdict - 1] : lines.find((text) => text.startsWith('libbpf: prog'))) ?? lines[0] ?? '';
  const code = codeOf(error);
  const text = line.replace(/^libbpf: /, '').trim();
  return (code === '' ? text : `${code}: ${text}`).slice(0, REASON_MAX);
}
