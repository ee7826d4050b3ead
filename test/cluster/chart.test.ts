import { createPrivateKey, X509Certificate } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { PodMonitor } from '@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/PodMonitor';
import { PrometheusRule } from '@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/PrometheusRule';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { Cluster, type KubeObject } from './cluster.ts';
import { installCustomResources } from './custom-resources.ts';
import { CHART, helm, RELEASE, valuesFile } from './helm.ts';

let cluster: Cluster;
let namespace: string;

beforeAll(async () => {
  cluster = await Cluster.open();
  namespace = await cluster.namespace('kerntap-template');
  await installCustomResources(cluster);
});

afterAll(async () => {
  await cluster?.close();
});

/** What the chart makes, as YAML. */
function template(values: KubeObject, ...more: string[]): Promise<string> {
  return helm('template', RELEASE, CHART, '-n', namespace, ...valuesFile(cluster, values), ...more);
}

/** As the real API server reads it: unknown fields and wrong types are errors. Returns kubectl's words. */
async function check(manifests: string, into = namespace): Promise<string> {
  const file = join(cluster.dir, 'rendered.yaml');
  writeFileSync(file, manifests);
  return cluster.kubectl('apply', '--dry-run=server', '--validate=strict', '-n', into, '-f', file);
}

function objectsOf(manifests: string): KubeObject[] {
  return parseAllDocuments(manifests)
    .map((document) => document.toJSON())
    .filter((object) => object !== null);
}

const EVERYTHING = {
  nameOverride: 'tap',
  commonLabels: { team: 'security' },
  clusterName: 'north',
  clusterUid: '6a1b4c9e-0000-4000-8000-000000000001',
  node: { apiServer: true, metadataService: 'auto', cloudAccountId: '123456789012', cloudRegion: 'eu-west-1' },
  image: { registry: 'registry.example.com', digest: `sha256:${'0'.repeat(64)}` },
  imagePullSecrets: [{ name: 'pull' }],
  config: {
    profile: 'forensic',
    probes: { 'file.open': 'all', 'socket.unix': 'off' },
    policies: [{ match: { namespace: ['build-*'] }, file: { sample: 10 } }],
    tail: { namespaces: ['shop'], eventsPerSecond: 100 },
    overrides: [{ match: { nodePercent: 1 }, set: { probes: { 'file.open': 'off' } } }],
  },
  kubelet: {
    url: 'https://[$(HOST_IP)]:10250',
    podsApi: 'on',
    rootDir: '/var/lib/k0s/kubelet',
    tlsVerify: false,
    caFile: '/etc/kubelet/ca.crt',
  },
  serviceAccount: { name: 'tapper', annotations: { a: 'b' } },
  agent: {
    podLabels: { a: 'b' },
    podAnnotations: { a: 'b' },
    extraCapabilities: ['SYS_RESOURCE'],
    seLinuxOptions: { type: 'super_t' },
    podSecurityContext: { appArmorProfile: { type: 'Unconfined' } },
    extraArgs: ['--ring-bytes', '32Mi'],
    extraEnv: [{ name: 'A', value: 'b' }],
    envFrom: [{ configMapRef: { name: 'env' } }],
    extraVolumes: [{ name: 'kubelet', hostPath: { path: '/var/lib/kubelet/pki/kubelet.crt', type: 'File' } }],
    extraVolumeMounts: [{ name: 'kubelet', mountPath: '/etc/kubelet/ca.crt', readOnly: true }],
  },
  collector: {
    replicas: 2,
    communityIdSeed: 7,
    tls: {
      mode: 'certManager',
      allowClients: ['{node}.agents.example', 'kerntap-tap-agent'],
      extraNames: ['collector.example.com'],
      serverName: 'collector.example.com',
      certManager: { issuerRef: { name: 'corporate', kind: 'ClusterIssuer' }, duration: '720h', renewBefore: '240h' },
    },
    priorityClassName: 'system-cluster-critical',
    tolerations: [{ key: 'a', operator: 'Exists' }],
    service: { type: 'NodePort', annotations: { a: 'b' } },
    persistence: { storageClassName: 'fast', size: '1Ti', retain: false, takeOwnership: false },
    podLabels: { a: 'b' },
    podAnnotations: { a: 'b' },
    extraArgs: ['--rotate-seconds', '60'],
    extraEnv: [{ name: 'A', value: 'b' }],
    extraVolumes: [{ name: 'more', emptyDir: {} }],
    extraVolumeMounts: [{ name: 'more', mountPath: '/more' }],
  },
  metrics: { podMonitor: { enabled: true }, prometheusRule: { enabled: true }, dashboard: { enabled: true } },
  networkPolicy: { collectorFrom: [{ namespaceSelector: { matchLabels: { a: 'b' } } }] },
  extraObjects: [
    { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'extra' }, data: { release: '{{ .Release.Name }}' } },
    'apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {{ .Release.Name }}-text',
  ],
};

const MATRIX: Readonly<Record<string, KubeObject>> = {
  'the defaults': {},
  'every value': EVERYTHING,
  'an emptyDir': { collector: { persistence: { enabled: false } } },
  'a collector elsewhere': { collector: { enabled: false, endpoint: 'collector.example.com:4750' } },
  'certificates by cert-manager': { collector: { tls: { mode: 'certManager' } } },
  'certificates of yours': { collector: { tls: { mode: 'secret', secret: { server: 'one', agent: 'two' } } } },
  'no certificates': { collector: { tls: { mode: 'off' } } },
  'a collector elsewhere that knows the agents': {
    collector: { enabled: false, endpoint: 'c.example.com:4750', tls: { mode: 'secret', secret: { agent: 'two' } } },
  },
  'a ConfigMap that is there': { existingConfigMap: 'mine' },
  'the right of old kubelets': { kubelet: { legacyNodesProxy: true } },
  'a privileged agent': { agent: { securityContext: { privileged: true } } },
  'no objects but the workloads': {
    rbac: { create: false },
    serviceAccount: { create: false, name: 'mine' },
    networkPolicy: { enabled: false },
  },
};

/** Flags of `helm template` for a cluster with the Prometheus Operator, on OpenShift. */
const KNOWN = ['monitoring.coreos.com/v1', 'security.openshift.io/v1'].flatMap((api) => ['--api-versions', api]);

describe('the chart', () => {
  it('passes helm lint --strict', async () => {
    expect(await helm('lint', '--strict', CHART)).toContain('0 chart(s) failed');
  });

  for (const [name, values] of Object.entries(MATRIX)) {
    for (const version of ['1.25.0', '1.33.0', '1.37.0']) {
      it(`makes what the API server takes: ${name}, for Kubernetes ${version}`, async () => {
        const words = await check(await template(values, '--kube-version', version));
        expect(words).toMatch(/^daemonset.apps\/\S+ created \(server dry run\)$/m);
      });
    }
  }

  for (const [name, values] of Object.entries(MATRIX)) {
    it(`makes what the API server takes that knows the Prometheus Operator and OpenShift: ${name}`, async () => {
      const monitored = {
        ...values,
        metrics: { podMonitor: { enabled: true }, prometheusRule: { enabled: true, labels: { a: 'b' } } },
      };
      const manifests = await template(monitored, '--kube-version', '1.36.0', ...KNOWN);
      const words = await check(manifests);
      for (const kind of ['podmonitor', 'prometheusrule', 'securitycontextconstraints']) {
        expect(words).toMatch(new RegExp(`^${kind}\\.\\S+ created \\(server dry run\\)$`, 'm'));
      }
      // Patterns and bounds, which are not in the schema that the API server has.
      for (const [kind, Model] of Object.entries({ PodMonitor, PrometheusRule })) {
        new Model(objectsOf(manifests).find((object) => object.kind === kind)).validate();
      }
    });
  }

  it.each([
    ['an unknown field of a PodMonitor', 'targetLabel: node', 'targetLable: node', /unknown field.*targetLable/],
    ['a SecurityContextConstraints without a priority', 'priority: 0', '', /priority.*Required value/],
    ['an unknown field of an alert', 'expr: sum', 'exprs: sum', /unknown field.*exprs/],
    ['an alert whose label is no text', 'severity: warning', 'severity: 1', /labels\.severity.*string/],
    [
      'an unknown field of a SecurityContextConstraints',
      'allowHostPID:',
      'allowHostPid:',
      /unknown field.*allowHostPid/,
    ],
    [
      'a SecurityContextConstraints of the wrong type',
      'allowHostPID: true',
      'allowHostPID: "yes"',
      /allowHostPID.*boolean/,
    ],
  ])('would not pass with %s', async (_, right, wrong, message) => {
    const values = { metrics: { podMonitor: { enabled: true }, prometheusRule: { enabled: true } } };
    const rendered = await template(values, ...KNOWN);
    expect(rendered).toContain(right);
    const refusal = check(rendered.replace(right, wrong)).then(
      () => 'took it',
      (error: KubeObject) => String(error.stderr),
    );
    expect(await refusal).toMatch(message);
  });

  it.each([
    ['defaults', {}],
    ['every-value', EVERYTHING],
  ])('makes what test/cluster/golden/%s.yaml has', async (name, values) => {
    const args = ['-n', 'kerntap', '--kube-version', '1.36.0', ...(name === 'defaults' ? [] : KNOWN)];
    const rendered = await helm('template', RELEASE, CHART, ...args, ...valuesFile(cluster, values));
    // New keys and certificates each time, where there is no cluster to look them up in.
    const settled = rendered
      .replace(/^( {2}(?:ca|tls)\.(?:crt|key)): \S+$/gm, '$1: ...')
      .replace(/(kerntap\.dev\/issued): "\d+"/g, '$1: "..."');
    await expect(settled).toMatchFileSnapshot(join(import.meta.dirname, 'golden', `${name}.yaml`));
  });

  it.each([
    ['an unknown value', { agnet: {} }, /agnet/],
    ['an unknown value deeper down', { agent: { tolerance: [] } }, /tolerance/],
    ['a value of the wrong type', { collector: { replicas: 'two' } }, /replicas/],
    ['an interval that is no duration', { metrics: { podMonitor: { interval: 'often' } } }, /interval/],
    ['an unknown probe', { config: { probes: { 'file.opne': 'off' } } }, /file\.opne/],
    ['a key that the chart sets', { config: { collector: { endpoint: 'a:1' } } }, /collector/],
    ['a fact of the node that there is not', { node: { cloudAcount: 'x' } }, /cloudAcount/],
    [
      'Secrets of yours without their names',
      { collector: { tls: { mode: 'secret' } } },
      /collector\.tls\.secret\.server, and collector\.tls\.secret\.agent|name the Secrets/,
    ],
    ['a mode of TLS that is none', { collector: { tls: { mode: 'on' } } }, /mode/],
    ['no collector at all', { collector: { enabled: false } }, /collector\.endpoint/],
    [
      'two sources of the configuration',
      { existingConfigMap: 'mine', config: { failedOpens: true } },
      /leave it empty/,
    ],
    ['an old Kubernetes', {}, /kubeVersion/, '1.24.0'],
  ])('refuses %s', async (_, values, message, version = '1.36.0') => {
    const failure = await template(values, '--kube-version', version).then(
      () => 'made something',
      (error: KubeObject) => String(error.stderr),
    );
    expect(failure).toMatch(message);
  });

  it('asks for nodes/pods alone, and for nodes/proxy only where that is said, loudly', async () => {
    const notes = (values: KubeObject) =>
      helm(
        'install',
        RELEASE,
        CHART,
        '-n',
        namespace,
        '--dry-run=client',
        '--no-hooks',
        ...valuesFile(cluster, values),
      );
    // Without what is there for a moment after an uninstall: it may see one DaemonSet, its own.
    const usual = await template({}, '--no-hooks');
    expect(usual.match(/resources: \[.*\]/g)).toEqual(['resources: [nodes/pods]']);
    expect(usual.match(/verbs: .*/g)).toEqual(['verbs: [get]']);
    expect(await notes({})).not.toMatch(/DANGER|WARNING/);
    expect(await notes({ collector: { tls: { mode: 'off' } } })).toContain(
      'WARNING: the stream of events is not encrypted',
    );
    const legacy = { kubelet: { legacyNodesProxy: true } };
    expect((await template(legacy, '--no-hooks')).match(/resources: \[.*\]/g)).toEqual([
      'resources: [nodes/pods]',
      'resources: [nodes/proxy]',
    ]);
    expect(await notes(legacy)).toContain('DANGER: kubelet.legacyNodesProxy');
    const nodes = { node: { apiServer: true } };
    expect((await template(nodes, '--no-hooks')).match(/resource(s|Names): \[.*\]/g)).toEqual([
      'resources: [nodes/pods]',
      'resources: [nodes]',
      'resources: [namespaces]',
      'resourceNames: [kube-system]',
    ]);
    expect((await template(nodes, '--no-hooks')).match(/verbs: .*/g)).toEqual(Array(3).fill('verbs: [get]'));
    expect(await notes(nodes)).toContain('node.apiServer: ');
    expect(await notes({ node: { metadataService: 'aws' } })).toContain('node.metadataService: ');
    expect(await notes({ node: { metadataService: 'off' } })).not.toContain('node.');
    expect(await notes({ kubelet: { tlsVerify: false } })).toContain('WARNING: kubelet.tlsVerify');
    expect(await notes({ agent: { securityContext: { privileged: true } } })).toContain(
      'WARNING: agent.securityContext',
    );
  });

  it('has both ends show certificates, signed by one authority whose key only its own Secret has', async () => {
    const objects = objectsOf(await template({}));
    const secrets = Object.fromEntries(
      objects.filter(({ kind }) => kind === 'Secret').map(({ metadata, data }) => [metadata.name, data]),
    );
    expect(Object.keys(secrets).sort()).toEqual(['kerntap-agent-tls', 'kerntap-ca', 'kerntap-collector-tls']);
    const decoded = (name: string, key: string) => Buffer.from(secrets[name][key], 'base64').toString();
    const authority = new X509Certificate(decoded('kerntap-ca', 'tls.crt'));
    const days = ({ validFrom, validTo }: X509Certificate) =>
      (Date.parse(validTo) - Date.parse(validFrom)) / 86_400_000;
    expect(Math.round(days(authority))).toBe(3650);
    for (const [name, host] of [
      ['kerntap-collector-tls', `kerntap-collector.${namespace}.svc`],
      ['kerntap-agent-tls', 'kerntap-agent'],
    ] as const) {
      const leaf = new X509Certificate(decoded(name, 'tls.crt'));
      expect(leaf.verify(authority.publicKey)).toBe(true);
      expect(leaf.checkHost(host)).toBe(host);
      expect(leaf.checkPrivateKey(createPrivateKey(decoded(name, 'tls.key')))).toBe(true);
      expect(Math.round(days(leaf))).toBe(1825);
      expect(decoded(name, 'ca.crt')).toBe(decoded('kerntap-ca', 'tls.crt'));
    }
    const mounted = objects
      .filter(({ kind }) => kind === 'DaemonSet' || kind === 'StatefulSet')
      .flatMap(({ spec }) => spec.template.spec.volumes)
      .flatMap(({ secret }) => secret?.secretName ?? []);
    expect(mounted).toEqual(['kerntap-agent-tls', 'kerntap-collector-tls']);
  });

  it('brings a PodMonitor and rules where they are asked for and known, and only there', async () => {
    const known = ['--api-versions', 'monitoring.coreos.com/v1'];
    const kinds = (manifests: string) => manifests.match(/^kind: (PodMonitor|PrometheusRule)$/gm) ?? [];
    expect(kinds(await template(EVERYTHING, ...known))).toEqual(['kind: PodMonitor', 'kind: PrometheusRule']);
    expect(kinds(await template(EVERYTHING))).toEqual([]);
    expect(kinds(await template({}, ...known))).toEqual([]);
  });

  it('brings a SecurityContextConstraints and the SELinux type where there is OpenShift, and only there', async () => {
    const openshift = await template({}, '--api-versions', 'security.openshift.io/v1');
    expect(openshift).toMatch(/^kind: SecurityContextConstraints$/m);
    expect(openshift).toMatch(/seLinuxOptions:\s+type: spc_t/);
    expect(await template({})).not.toMatch(/SecurityContextConstraints|seLinuxOptions/);
  });
});

describe('PodSecurity', () => {
  /** The pods that a controller would make, into a namespace that enforces a level: the API server's answer. */
  async function into(level: string, kind: 'DaemonSet' | 'StatefulSet' | 'Pod', values: KubeObject): Promise<string> {
    const name = await cluster.namespace(`kerntap-${level}`);
    await cluster.kubectl('label', 'namespace', name, `pod-security.kubernetes.io/enforce=${level}`);
    // The account that the pod names is looked for before PodSecurity is asked.
    await cluster.kubectl('create', 'serviceaccount', RELEASE, '-n', name);
    const rendered = await template({ ...values, agent: { priorityClassName: '' } });
    const found = objectsOf(rendered).find((object) => object.kind === kind);
    const { metadata, spec } = kind === 'Pod' ? found : found.spec.template;
    const volumes = [...(spec.volumes ?? []), ...(kind === 'StatefulSet' ? [{ name: 'events', emptyDir: {} }] : [])];
    const pod = {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { ...metadata, name: 'tried', namespace: name },
      spec: { ...spec, volumes },
    };
    return check(JSON.stringify(pod), name).catch((error: KubeObject) => String(error.stderr));
  }

  it('privileged takes the agent, baseline does not, for what the manual says', async () => {
    expect(await into('privileged', 'DaemonSet', {})).toContain('pod/tried created');
    const refusal = await into('baseline', 'DaemonSet', {});
    expect(refusal).toMatch(/host namespaces \(hostPID=true\)/);
    expect(refusal).toMatch(/hostPath volumes/);
    expect(refusal).toMatch(/non-default capabilities.*"BPF", "PERFMON"/);
    expect(refusal).not.toMatch(/privileged container|seccomp|hostPort/i);
  });

  it('restricted takes the pod of helm test', async () => {
    expect(await into('restricted', 'Pod', {})).toContain('pod/tried created');
  });

  it('restricted takes the collector, as long as it need not take its volume over', async () => {
    const values = { collector: { persistence: { takeOwnership: false } } };
    expect(await into('restricted', 'StatefulSet', values)).toContain('pod/tried created');
    expect(await into('restricted', 'StatefulSet', {})).toMatch(/take-ownership/);
    expect(await into('baseline', 'StatefulSet', {})).toContain('pod/tried created');
  });
});
