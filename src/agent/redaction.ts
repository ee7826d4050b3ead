/**
 * Finds secrets in command lines and environments and puts a keyed hash in their place, so that equal secrets can still
 * be joined. Strings are bytes, one a character (latin-1). Every expression is bounded: what a workload passes as an
 * argument must not cost more than its length.
 */
import { createHmac } from 'node:crypto';

const MARK = '<redacted:';
const MARKED = /^["']?<redacted:/;
/** A name in which the word stands, to its end; bounded on both sides. */
const REST_OF_NAME = '[\\w.-]{0,64}';
/** Between a name and its value, as shells, URLs, headers and JSON write it. */
const BETWEEN = '["\']?\\]?\\s{0,4}(?:=>|=|:)\\s{0,4}';
const QUOTED = '"[^"]{1,16384}"?|\'[^\']{1,16384}\'?';
/** A value among other words: to the next blank, quote or end of a command. */
const IN_TEXT = `(${QUOTED}|[^\\s"';|)]{1,16384})`;
/** A value in a URL. */
const IN_URL = '([^\\s&#"\']{1,16384})';
/** Between an option and its value within one text: blanks, or as a list of strings has it. */
const AFTER_OPTION = '(?:\\s{1,4}|["\']\\s{0,4},\\s{0,4})';
const TO_THE_END = '(.{1,16384})';
/** These names with a path tell where a secret is, not what it is. */
const PLACE = /(?:file|path|dir|directory)$/i;

/** Formats that are secrets by themselves. Key ids (AKIA…) are not: hunts need them. */
const SHAPES: readonly RegExp[] = [
  /(?:^|\W)(gh[pousr]_[A-Za-z0-9]{16,255}|github_pat_\w{16,255}|glpat-[\w-]{16,255}|xox[abeprs]-[\w-]{8,255})/dg,
  /(?:^|\W)(sk-[\w-]{16,255}|hvs\.[\w-]{16,255}|npm_[A-Za-z0-9]{30,255}|dckr_pat_[\w-]{16,255}|AIza[\w-]{30,255})/dg,
  // It begins where no run of its own characters does: each run is looked at once.
  /(?:^|[^\w-])(eyJ[\w-]{8,8192}\.[\w-]{4,8192}\.[\w-]{0,8192})/dg,
  /-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----(.{1,16384}?)(?:-----END|$)/dgs,
];
const URL_PASSWORD = /:\/\/[^\s:/?#@]{0,256}:([^\s/]{1,1024})@/dg;
const HEADER = /authorization["']?\s{0,4}[:=]\s{0,4}["']?(?:[A-Za-z-]{2,20} {1,4})?([^"'\r\n]{1,16384})/dgi;
const SCHEME = /\b(?:bearer|basic) {1,4}([\w.~+/=-]{8,8192})/dgi;
const MYSQL_IN_TEXT = /\b(?:mysql|mariadb)[\w-]{0,16}\s[^|;&\n]{0,200}?\s-p([^\s"';|]{1,1024})/dg;
const SSHPASS_IN_TEXT = /\bsshpass\s{1,4}-p\s{0,4}([^\s"';|]{1,1024}|"[^"]{1,1024}"|'[^']{1,1024}')/dg;
const IN_EVERY_TEXT = [HEADER, SCHEME, URL_PASSWORD, MYSQL_IN_TEXT, SSHPASS_IN_TEXT, ...SHAPES];

/** An option that holds a secret only with certain programs. */
interface ProgramOption {
  readonly program: RegExp;
  /** Only with this among the arguments. */
  readonly command?: string;
  /** The secret is attached to it: -pX. */
  readonly attached?: RegExp;
  /** The secret is the next argument. */
  readonly next?: RegExp;
}

const ATTACHED_P = /^-p(.+)$/dgs;
const OPTIONS: readonly ProgramOption[] = [
  { program: /^(?:mysql|mariadb)/, attached: ATTACHED_P },
  { program: /^sshpass$/, attached: ATTACHED_P, next: /^-p$/ },
  { program: /^redis-cli$/, attached: /^-a(.+)$/dgs, next: /^-a$/ },
  { program: /^ldap(?:search|add|modify|delete|passwd|whoami)$/, attached: /^-w(.+)$/dgs, next: /^-w$/ },
  { program: /^(?:useradd|usermod)$/, next: /^-p$/ },
  { program: /^(?:docker|podman|nerdctl|helm|crane|skopeo)$/, command: 'login', next: /^-p$/ },
];
/** `-u user:password` of these programs. */
const USER_PROGRAM = /^(?:curl|https?|xh)$/;
const USER_OPTION = /^(?:-u|--user|-U|--proxy-user|-a|--auth)$/;
const USER_VALUE = /^[^:]{0,256}:(.+)$/dgs;
const USER_ATTACHED = /^(?:-u|--user=|-U|--proxy-user=)[^:]{0,256}:(.+)$/dgs;
const PASS_PREFIX = /^pass:(.+)$/dgs;

const escaped = (text: string): string => text.replace(/[\\^$.*+?()[\]{}|/-]/g, '\\$&');

export interface RedactionRules {
  /** A word: names that contain it hold a secret. A text that ends in `*`: a secret follows it. */
  readonly patterns: readonly string[];
  /** Of the hash. */
  readonly key: Uint8Array;
}

export class Redaction {
  readonly #key: Uint8Array;
  /** `--NAME` whose next argument is the secret. */
  readonly #nextOption: RegExp;
  readonly #assigned: readonly { readonly inText: RegExp; readonly inUrl: RegExp; readonly toTheEnd: RegExp }[];
  readonly #optionInText: RegExp;
  readonly #suspicious: RegExp;

  constructor({ patterns, key }: RedactionRules) {
    this.#key = key;
    const words = patterns.filter((pattern) => !pattern.endsWith('*')).map(escaped);
    const texts = patterns.filter((pattern) => pattern.endsWith('*')).map((pattern) => pattern.slice(0, -1));
    const word = words.length === 0 ? '(?!)' : `(?:${words.join('|')})`;
    const attached = texts.filter((text) => !text.endsWith(' ')).map(escaped);
    const spaced = texts.filter((text) => text.endsWith(' ')).map((text) => escaped(text.trim()));
    const exact = spaced.length === 0 ? '(?!)' : `(?:${spaced.join('|')})`;
    const literal = attached.length === 0 ? '(?!)' : `(?:${attached.join('|')})()`;
    const named = `${word}(${REST_OF_NAME})${BETWEEN}`;
    this.#assigned = [named, literal].map((before) => ({
      inText: new RegExp(`${before}${IN_TEXT}`, 'gi'),
      inUrl: new RegExp(`${before}${IN_URL}`, 'gi'),
      toTheEnd: new RegExp(`${before}${TO_THE_END}`, 'gis'),
    }));
    this.#nextOption = new RegExp(`^(?:--?[\\w.-]{0,64}${word}(${REST_OF_NAME})|${exact})$`, 'i');
    this.#optionInText = new RegExp(
      `(?:--?[\\w.-]{0,32}${word}(${REST_OF_NAME})|${exact}())${AFTER_OPTION}${IN_TEXT}`,
      'gi',
    );
    this.#suspicious = new RegExp(
      `${word}|${exact}|${literal}|:\\/\\/|authorization|bearer|basic|-----BEGIN|eyJ|sk-|pass:|` +
        'gh[pousr]_|github_pat_|glpat-|xox|hvs\\.|npm_|dckr_pat_|AIza|mysql|mariadb|sshpass|redis-cli|ldap|' +
        'useradd|usermod|docker|podman|nerdctl|helm|crane|skopeo|curl|http|xh',
      'i',
    );
  }

  /** What stands for a secret. */
  mark(secret: string): string {
    const hash = createHmac('sha256', this.#key).update(Buffer.from(secret, 'latin1')).digest('hex');
    return `${MARK}${hash.slice(0, 16)}>`;
  }

  /** Whether a look at each argument is worth it: false for most command lines. */
  mayHold(block: string): boolean {
    return this.#suspicious.test(block);
  }

  /** A command line, argv[0] first, with its secrets replaced. */
  args(argv: readonly string[]): string[] {
    const program = argv[0]?.slice(argv[0].lastIndexOf('/') + 1) ?? '';
    const options = OPTIONS.filter(
      (option) => option.program.test(program) && (option.command === undefined || argv.includes(option.command)),
    );
    let next: 'plain' | 'secret' | 'user' | 'script' = 'plain';
    return argv.map((arg, index) => {
      const asked = next;
      next = 'plain';
      if (index === 0) return this.#inText(arg);
      // An option where a value was asked for: there was none.
      if (asked === 'secret' && !arg.startsWith('--')) return arg === '' || MARKED.test(arg) ? arg : this.mark(arg);
      if (asked === 'user') return this.#group(arg, USER_VALUE);
      if (this.#asksForNext(arg) || options.some((option) => option.next?.test(arg))) next = 'secret';
      else if (USER_OPTION.test(arg) && USER_PROGRAM.test(program)) next = 'user';
      else if (/^-[a-z]{0,8}c$/.test(arg)) next = 'script';
      const own = options.flatMap(({ attached }) => attached ?? []);
      if (USER_PROGRAM.test(program)) own.push(USER_ATTACHED);
      for (const expression of [...own, PASS_PREFIX]) {
        const replaced = this.#group(arg, expression);
        if (replaced !== arg) return replaced;
      }
      return asked === 'script' ? this.#inText(arg) : this.argument(arg);
    });
  }

  /** One argument, or NAME=VALUE of an environment. */
  argument(arg: string): string {
    // A lone assignment: its value may have any character.
    const name = /^-{0,2}[\w.-]{1,128}=/.exec(arg)?.[0];
    if (name !== undefined) {
      const assigned = this.#named(arg, 'toTheEnd', name.length);
      if (assigned !== arg) return assigned;
    }
    return this.#inText(arg);
  }

  #asksForNext(arg: string): boolean {
    const match = this.#nextOption.exec(arg);
    return match !== null && !PLACE.test(match[1] ?? '');
  }

  #inText(text: string): string {
    let out = text;
    for (const expression of IN_EVERY_TEXT) out = this.#group(out, expression);
    const blank = /\s/.test(text);
    out = this.#named(out, blank ? 'inText' : /\?|:\/\//.test(text) ? 'inUrl' : 'toTheEnd');
    return blank || /["'],/.test(text) ? this.#replace(out, this.#optionInText) : out;
  }

  /** `within`: only where the name ends before this place. */
  #named(text: string, form: 'inText' | 'inUrl' | 'toTheEnd', within = Number.POSITIVE_INFINITY): string {
    let out = text;
    for (const assigned of this.#assigned) out = this.#replace(out, assigned[form], within);
    return out;
  }

  /** Replaces the last group of every match; the groups before it are the rest of the name. */
  #replace(text: string, expression: RegExp, within = Number.POSITIVE_INFINITY): string {
    return text.replace(expression, (match: string, ...rest: unknown[]) => {
      const groups = rest.slice(
        0,
        rest.findIndex((item) => typeof item === 'number'),
      ) as (string | undefined)[];
      const offset = rest.find((item) => typeof item === 'number') as number;
      const value = groups.at(-1) ?? '';
      const before = match.slice(0, match.length - value.length);
      if (value === '' || MARKED.test(value) || offset + before.length > within) return match;
      if (PLACE.test(groups[0] ?? '') && /^["']?[./~]/.test(value)) return match;
      const quote = /^["']/.exec(value)?.[0] ?? '';
      const inner = quote === '' ? value : value.slice(1, value.endsWith(quote) ? -1 : undefined);
      return inner === '' ? match : `${before}${quote}${this.mark(inner)}${quote}`;
    });
  }

  /** Replaces the one group of every match, wherever it stands in it. The expression has the flags d and g. */
  #group(text: string, expression: RegExp): string {
    let out = '';
    let from = 0;
    for (const match of text.matchAll(expression)) {
      const span = match.indices?.[1];
      if (span === undefined || MARKED.test(match[1] ?? '')) continue;
      out += text.slice(from, span[0]) + this.mark(text.slice(span[0], span[1]));
      from = span[1];
    }
    return out + text.slice(from);
  }
}
