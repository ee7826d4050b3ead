/** Prometheus' text format read as its documentation says, strictly, apart from what writes it. */
export interface Sample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

export interface Family {
  readonly type: string;
  readonly help: string;
  readonly samples: readonly Sample[];
}

const NAME = /^[a-zA-Z_:][a-zA-Z0-9_:]*/;
const LABEL = /^([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\[\\n"])*)"(,?)/;

function unescaped(text: string): string {
  return text.replace(/\\([\\n"])/g, (_, letter: string) => (letter === 'n' ? '\n' : letter));
}

function parseSample(line: string): Sample {
  const name = NAME.exec(line)?.[0];
  if (name === undefined) throw new Error(`no name: ${line}`);
  let rest = line.slice(name.length);
  const labels: Record<string, string> = {};
  if (rest.startsWith('{')) {
    rest = rest.slice(1);
    for (let more = !rest.startsWith('}'); more; ) {
      const match = LABEL.exec(rest);
      if (match === null) throw new Error(`no label at: ${rest}`);
      const [all, label = '', value = '', comma] = match;
      if (Object.hasOwn(labels, label)) throw new Error(`label twice: ${line}`);
      labels[label] = unescaped(value);
      rest = rest.slice(all.length);
      more = comma === ',' && !rest.startsWith('}');
    }
    if (!rest.startsWith('}')) throw new Error(`unclosed labels: ${line}`);
    rest = rest.slice(1);
  }
  const match = /^ (-?\d+(?:\.\d+)?(?:e[+-]?\d+)?)$/.exec(rest);
  if (match === null) throw new Error(`no value: ${line}`);
  return { name, labels, value: Number(match[1]) };
}

/** Throws for anything that a scraper refuses: a family in two pieces, the same series twice, a sample of no family. */
export function parseExposition(text: string): Map<string, Family> {
  if (!text.endsWith('\n')) throw new Error('the last line does not end');
  const families = new Map<string, { type: string; help: string; samples: Sample[] }>();
  const series = new Set<string>();
  let current = '';
  let help: { name: string; text: string } | undefined;
  for (const line of text.slice(0, -1).split('\n')) {
    const comment = /^# (HELP|TYPE) (\S+) (.*)$/.exec(line);
    if (comment?.[1] === 'HELP') {
      help = { name: comment[2] ?? '', text: unescaped(comment[3] ?? '') };
    } else if (comment !== null) {
      current = comment[2] ?? '';
      if (families.has(current)) throw new Error(`${current} in two pieces`);
      if (help?.name !== current) throw new Error(`${current} without help`);
      families.set(current, { type: comment[3] ?? '', help: help.text, samples: [] });
    } else {
      const sample = parseSample(line);
      const key = JSON.stringify([sample.name, Object.entries(sample.labels).sort()]);
      if (series.has(key)) throw new Error(`twice: ${line}`);
      series.add(key);
      if (sample.name !== current) throw new Error(`${sample.name} within ${current}`);
      families.get(current)?.samples.push(sample);
    }
  }
  return families;
}
