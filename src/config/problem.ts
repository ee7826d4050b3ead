/** One thing that is wrong with a configuration. */
export interface Problem {
  /** Dotted path of the key, list items as [0]; '(file)': the file as a whole. */
  readonly key: string;
  /** From 1. */
  readonly line: number;
  readonly column: number;
  readonly message: string;
  /** What to do about it. */
  readonly remedy: string;
}

export const WHOLE_FILE = '(file)';
const SHOWN_MAX = 20;

export function problemText(file: string, { key, line, column, message, remedy }: Problem): string {
  return `${file}:${line}:${column}: ${key}: ${message}; ${remedy}`;
}

/** A configuration that cannot be used. The message has one line for each problem. */
export class ConfigError extends Error {
  override name = 'ConfigError';
  readonly file: string;
  readonly problems: readonly Problem[];

  constructor(file: string, problems: readonly Problem[], options?: ErrorOptions) {
    const lines = problems.slice(0, SHOWN_MAX).map((problem) => problemText(file, problem));
    if (problems.length > SHOWN_MAX) lines.push(`${file}: and ${problems.length - SHOWN_MAX} more`);
    super(lines.join('\n'), options);
    this.file = file;
    this.problems = problems;
  }
}

export function wholeFile(message: string, remedy: string): Problem {
  return { key: WHOLE_FILE, line: 1, column: 1, message, remedy };
}

/** Text from the file without characters that could act on a terminal or a log. */
export function harmless(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, '\u{fffd}');
}

/** Text from the file as it may stand in a message: on one line, not long. */
export function quoted(value: unknown): string {
  const text = typeof value === 'string' ? value : (JSON.stringify(value) ?? String(value));
  return `'${harmless(text.length > 60 ? `${text.slice(0, 57)}...` : text)}'`;
}
