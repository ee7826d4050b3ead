/** Makes docs/configuration.md: how the file is used, and every key of the table. */
import { pathToFileURL } from 'node:url';
import { type KeyManual, manual } from './explain.ts';
import { PROFILE_SETTINGS } from './profiles.ts';
import { API_VERSION, PROFILES } from './schema.ts';

const HEAD = `<!-- Made from src/config by \`node dist/src/config/reference.js > docs/configuration.md\`; a test compares them. -->
# Configuration

\`kerntap agent --config FILE\` reads one YAML file and follows it while it runs; on Kubernetes it is the key
\`kerntap.yaml\` of the ConfigMap. Flags win over the file. \`kerntap config check FILE\` checks a file before it is used
(\`--print\` shows what a node makes of it), \`kerntap config explain KEY\` tells what a key means, and
[config.schema.json](config.schema.json) gives editors completion:

\`\`\`yaml
# yaml-language-server: $schema=config.schema.json
apiVersion: ${API_VERSION}
profile: default
probes:
  file.open: sensitive
policies:                     # the first rule that matches and names a family decides
  - match: {namespace: payments}
    all: trace
  - match: {namespace: "ci-*", podLabels: {app: build}}
    file: off
    process: {sample: 10}
overrides:                    # one percent of the nodes first
  - match: {nodePercent: 1}
    set: {probes: {file.open: all}}
\`\`\`

## When it changes

The folder is watched, and the content compared every 10 s. (The kubelet brings an edited ConfigMap to a node within one to
two minutes; annotating the pod makes it do so at once.) A file is checked whole and then put in force at once: a probe that
is turned on or off is attached or detached alone, others see no gap, and each is a \`kerntap.probe\` event. What cannot
change without a restart is named in the log.

A file that is wrong changes nothing. The last good settings stay in force, the agent stays ready, one log line has file,
line, key and remedy, and \`kerntap_config_last_reload_successful\` is 0. The same holds for a file that is gone: that is not
"all off". Only at the start, where there are no settings yet, a wrong file ends the agent (exit code 1).

Environment variables and \`subPath\` mounts are never updated by Kubernetes: mount the ConfigMap as a folder.

## Policies

Rules are judged for each container, and once for what runs on the host. For each family (process, file, socket) the first
rule that matches and names it (or says \`all\`) decides: \`trace\`, \`off\`, or \`{sample: N}\`. Without a rule: trace. They
act in the kernel, before an event costs anything. The first events of a new container are held until its labels are known,
and judged then; nothing is left out before it is known whose it is.

Sampling is by process: a process that is kept is kept whole, and its events have \`sample_weight\` N. Where a workload's
families ask for different N the smallest holds for all of them. What policies leave out is counted as suppressed.

## Secrets

Secrets in command lines, in allowed environment variables and in the probe commands of pods are replaced by
\`<redacted:HASH>\` before anything else sees the event. The hash is keyed (HMAC-SHA-256, 64 bits): equal secrets have equal
hashes within one run of an agent, or everywhere with \`argv.redact.keyFile\`. Patterns that stand in the file replace the
default ones. No list is complete: command lines stay sensitive data.

## Profiles

| profile | changes |
|---|---|
`;

/** `|` would end a cell. */
const cell = (text: string): string => text.replaceAll('|', '\\|');

function row({ key, type, default: value, about }: KeyManual): string {
  return `| \`${key}\` | ${cell(about)} | ${type === 'section' ? '' : cell(type)} | ${value === undefined ? '' : `\`${cell(value)}\``} |`;
}

function flat(value: unknown, path = ''): string[] {
  if (typeof value !== 'object' || value === null) return [`\`${path}: ${String(value)}\``];
  return Object.entries(value).flatMap(([key, child]) => flat(child, path === '' ? key : `${path}.${key}`));
}

/** The whole document. */
export function configReference(): string {
  const profiles = PROFILES.map((name) => `| ${name} | ${flat(PROFILE_SETTINGS[name]).join(', ') || 'nothing'} |`);
  const keys = manual().map(row);
  return `${HEAD}${profiles.join('\n')}

## Keys

| key | meaning | value | default |
|---|---|---|---|
${keys.join('\n')}
`;
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) process.stdout.write(configReference());
