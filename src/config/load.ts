/** From a file to the settings of this node, or to every problem that it has. */
import { createHash } from 'node:crypto';
import { closeSync, constants, fstatSync, openSync, readFileSync, readSync } from 'node:fs';
import { encodePrefixes } from '../kernel/prefixes.ts';
import { CONFIG_BYTES_MAX, parseDocument } from './document.ts';
import type { Given } from './field.ts';
import { ConfigError, type Problem, quoted, wholeFile } from './problem.ts';
import type { Override } from './schema.ts';
import { ROOT, type Settings } from './schema.ts';
import { DEFAULT_SETTINGS, type NodeIdentity, settle, withGiven } from './settings.ts';
import { type KeyPlaces, validate } from './validate.ts';

export interface ConfigContext {
  readonly node: NodeIdentity;
  /** Laid below the file; default: DEFAULT_SETTINGS. */
  readonly base?: Settings | undefined;
  /** Has the last word: flags. */
  readonly over?: ((settings: Settings) => Settings) | undefined;
}

/** The bytes of a configuration file, of which more than the largest allowed size is not read. Throws ConfigError. */
export function readConfigFile(file: string): Uint8Array {
  let fd: number;
  try {
    // A named pipe must not stop the agent.
    fd = openSync(file, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (cause) {
    throw new ConfigError(file, [unreadable(cause)], { cause });
  }
  try {
    if (!fstatSync(fd).isFile()) {
      throw new ConfigError(file, [wholeFile('is not a regular file', 'name the file itself, e.g. kerntap.yaml')]);
    }
    const bytes = new Uint8Array(CONFIG_BYTES_MAX + 1);
    let used = 0;
    for (let n = -1; n !== 0 && used < bytes.length; used += n)
      n = readSync(fd, bytes, used, bytes.length - used, null);
    return bytes.subarray(0, used);
  } catch (cause) {
    if (cause instanceof ConfigError) throw cause;
    throw new ConfigError(file, [unreadable(cause)], { cause });
  } finally {
    closeSync(fd);
  }
}

function codeOf(error: unknown): string {
  return typeof error === 'object' && error !== null && 'code' in error ? String(error.code) : '';
}

function unreadable(error: unknown): Problem {
  const code = codeOf(error);
  if (code === 'ENOENT') return wholeFile('is not there', 'create it, or give the right path with --config');
  if (code === 'EACCES' || code === 'EPERM') return wholeFile('may not be read', 'let the agent read it (chmod a+r)');
  const reason = error instanceof Error ? error.message : String(error);
  return wholeFile(`cannot be read (${quoted(reason)})`, 'look at the file and the volume it is on');
}

/** Identifies the content. */
export function configHash(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex').slice(0, 16);
}

/** Throws ConfigError with every problem that was found. `file` is named in it. */
export function parseConfig(bytes: Uint8Array, file: string, context: ConfigContext): Settings {
  const parsed = parseDocument(bytes);
  if ('problems' in parsed) throw new ConfigError(file, parsed.problems);
  const { document } = parsed;
  const { given, places, problems } = validate(document, ROOT);
  if (problems.length > 0) throw new ConfigError(file, problems);
  const placeOf = (key: string) => document.placeOf(places.get(key) ?? 0);
  const more = crossChecks(given, context, places).map(({ key, ...rest }) => ({ key, ...placeOf(key), ...rest }));
  if (more.length > 0) throw new ConfigError(file, more);
  const settings = settle(given, context.node, context.base);
  return context.over === undefined ? settings : context.over(settings);
}

export function loadConfig(file: string, context: ConfigContext): Settings {
  return parseConfig(readConfigFile(file), file, context);
}

type Finding = Pick<Problem, 'key' | 'message' | 'remedy'>;

/** What one key alone does not show. Overrides are checked whether or not they match this node: a canary tells nothing of the others. */
function crossChecks(given: Given, context: ConfigContext, places: KeyPlaces): Finding[] {
  const base = context.base ?? DEFAULT_SETTINGS;
  const stated = settle({ ...given, overrides: [] }, context.node, base);
  const findings = settingsFindings(stated, '', places);
  const overrides = (given['overrides'] ?? []) as readonly Override[];
  for (const [index, override] of overrides.entries()) {
    const path = `overrides[${index}]`;
    findings.push(...settingsFindings(withGiven(stated, override.set ?? {}), `${path}.set.`, places));
    if (override.match.nodePercent === undefined && override.match.nodeLabels === undefined) {
      const remedy = 'add nodePercent or nodeLabels';
      findings.push({ key: `${path}.match`, message: 'names no nodes', remedy });
    }
  }
  return findings;
}

function settingsFindings(settings: Settings, prefix: string, places: KeyPlaces): Finding[] {
  const findings: Finding[] = [];
  const note = (key: string, message: string, remedy: string): void => {
    if (places.has(`${prefix}${key}`)) findings.push({ key: `${prefix}${key}`, message, remedy });
  };
  const prefixFault = (files: readonly string[], sockets: readonly string[]): string | undefined => {
    try {
      encodePrefixes({ files, sockets });
      return undefined;
    } catch (error) {
      return error instanceof Error ? error.message : String(error);
    }
  };
  const { sensitivePaths, sensitiveSockets, policies, argv, probes, collector, stream } = settings;
  let single = false;
  for (const [list, paths] of [
    ['sensitivePaths', sensitivePaths],
    ['sensitiveSockets', sensitiveSockets],
  ] as const) {
    for (const [index, text] of paths.entries()) {
      const fault = prefixFault(list === 'sensitivePaths' ? [text] : [], list === 'sensitivePaths' ? [] : [text]);
      if (fault === undefined) continue;
      single = true;
      note(
        `${list}[${index}]`,
        fault.replace(/^sensitive prefix "[^"]*": /, `${quoted(text)}: `),
        'write /dir/*/file, eight components at most',
      );
    }
  }
  const together = single ? undefined : prefixFault(sensitivePaths, sensitiveSockets);
  if (together !== undefined) {
    const key = places.has(`${prefix}sensitivePaths`) ? 'sensitivePaths' : 'sensitiveSockets';
    note(key, together, 'keep fewer, or shorter ones');
  }
  if (probes['socket.unix'] !== 'off' && probes['socket.connect'] === 'off') {
    note('probes.socket.unix', 'is told as socket.connect, which is off', 'set socket.connect: on, or this one off');
  }
  for (const [index, { match, ...actions }] of policies.entries()) {
    const key = `policies[${index}]`;
    if (Object.values(actions).every((action) => action === undefined)) {
      note(key, 'says nothing about what matches', 'add process, file, socket or all');
    }
    const named = match.namespace ?? match.podLabels ?? match.container ?? match.image;
    if (match.host && named !== undefined) {
      note(`${key}.match`, 'never matches: the host is in no pod', 'leave out host, or the other keys');
    }
  }
  for (const [section, { certFile, keyFile }] of [
    ['collector.tls', collector.tls],
    ['stream.otlp.tls', stream.otlp.tls],
  ] as const) {
    if ((certFile === undefined) === (keyFile === undefined)) continue;
    const [here, missing] = certFile === undefined ? ['keyFile', 'certFile'] : ['certFile', 'keyFile'];
    note(`${section}.${here}`, `needs ${missing}`, `add ${missing}, or remove ${here}`);
  }
  for (const [index, { name = '', value, file, env }] of stream.otlp.headers.entries()) {
    const key = `stream.otlp.headers[${index}]`;
    if ([value, file, env].filter((given) => given !== undefined).length !== 1) {
      note(key, 'has no value, or several', 'give one of value, file and env');
    }
    if (/^grpc-|-bin$/.test(name)) note(`${key}.name`, "is one of gRPC's own", 'choose another name');
  }
  if (argv.redact.keyFile !== undefined) {
    const fault = keyFault(argv.redact.keyFile);
    if (fault !== undefined)
      note('argv.redact.keyFile', fault, 'mount a file with 16 bytes or more, or remove the key');
  }
  return findings;
}

export const REDACTION_KEY_BYTES_MIN = 16;

function keyFault(file: string): string | undefined {
  try {
    const { length } = readFileSync(file);
    return length < REDACTION_KEY_BYTES_MIN ? `${quoted(file)} has ${length} bytes` : undefined;
  } catch (error) {
    return `${quoted(file)} cannot be read (${codeOf(error) || String(error)})`;
  }
}
