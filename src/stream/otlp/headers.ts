import { readFileSync } from 'node:fs';

/** A header as the settings say it: its value, or where it is. */
export interface HeaderSetting {
  /** Required; the settings' types do not say so. */
  readonly name: string | undefined;
  readonly value: string | undefined;
  readonly file: string | undefined;
  readonly env: string | undefined;
}

/** A header whose value cannot be had; which one and why, and nothing of a value. */
export class HeaderError extends Error {
  override name = 'HeaderError';
}

function fromFile(name: string, file: string): string {
  try {
    return readFileSync(file, 'utf8').trim();
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    throw new HeaderError(`stream.otlp.headers: ${name}: ${file} cannot be read (${code})`, { cause });
  }
}

/** The headers as they are now: files may have been renewed. Throws HeaderError. */
export function readHeaders(
  settings: readonly HeaderSetting[],
  env: Readonly<Record<string, string | undefined>>,
): Record<string, string> {
  const headers: Record<string, string> = {};
  for (const { name = '', value, file, env: variable } of settings) {
    let text = value;
    if (file !== undefined) text = fromFile(name, file);
    else if (variable !== undefined) text = env[variable];
    if (text === undefined) throw new HeaderError(`stream.otlp.headers: ${name}: $${variable} is not set`);
    // What HTTP/2 and gRPC take in a header; a secret is not to stand in a message.
    if (!/^[\x20-\x7e]{1,8192}$/.test(text)) {
      throw new HeaderError(`stream.otlp.headers: ${name}: is empty, too long, or not printable ASCII`);
    }
    headers[name] = text;
  }
  return headers;
}
