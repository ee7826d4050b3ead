import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { gunzipSync } from 'node:zlib';
import type { Cluster, KubeObject } from './cluster.ts';
import { declaredSchema } from './declared-schema.ts';

const run = promisify(execFile);

/** A kind that a cluster may know and a plain one does not, with the schema by which it judges objects. */
interface CustomResource {
  readonly group: string;
  readonly kind: string;
  readonly plural: string;
  readonly scope: 'Namespaced' | 'Cluster';
  readonly schema: KubeObject;
}

/** What makes OpenShift's API known, without its hundreds of dependencies: only its description is read. */
const OPENSHIFT_PACKAGE = 'openshift-rest-client@9.1.1';
const SCC = 'com.github.openshift.api.security.v1.SecurityContextConstraints';

/**
 * Makes the kinds that the chart brings for the Prometheus Operator, cert-manager and OpenShift known to the API server, by their
 * authors' own schemas, until the test ends: it then refuses what their clusters would refuse.
 */
export async function installCustomResources(cluster: Cluster): Promise<void> {
  const operator = '@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1';
  const certManager = { group: 'cert-manager.io', scope: 'Namespaced' } as const;
  const monitoring = { group: 'monitoring.coreos.com', scope: 'Namespaced' } as const;
  const resources: CustomResource[] = [
    ...[
      { kind: 'PodMonitor', plural: 'podmonitors' },
      { kind: 'PrometheusRule', plural: 'prometheusrules' },
    ].map(({ kind, plural }) => ({ ...monitoring, kind, plural, schema: declaredSchema(`${operator}/${kind}`) })),
    ...[
      { kind: 'Certificate', plural: 'certificates' },
      { kind: 'Issuer', plural: 'issuers' },
    ].map(({ kind, plural }) => {
      const schema = declaredSchema(`@kubernetes-models/cert-manager/cert-manager.io/v1/${kind}`);
      return { ...certManager, kind, plural, schema };
    }),
    {
      group: 'security.openshift.io',
      kind: 'SecurityContextConstraints',
      plural: 'securitycontextconstraints',
      scope: 'Cluster',
      schema: await openshiftSchema(cluster.dir, SCC),
    },
  ];
  await cluster.define(resources.map(definition));
}

function definition({ group, kind, plural, scope, schema }: CustomResource): KubeObject {
  const { properties, required = [] } = schema;
  return {
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    metadata: { name: `${plural}.${group}` },
    spec: {
      group,
      scope,
      names: { kind, plural, singular: kind.toLowerCase(), listKind: `${kind}List` },
      versions: [
        {
          name: 'v1',
          served: true,
          storage: true,
          schema: {
            openAPIV3Schema: {
              type: 'object',
              properties: { ...properties, metadata: { type: 'object' } },
              required: required.filter((name: string) => !['apiVersion', 'kind', 'metadata'].includes(name)),
            },
          },
        },
      ],
    },
  };
}

/** A type of OpenShift's API description, references put in place. */
async function openshiftSchema(dir: string, name: string): Promise<KubeObject> {
  const { stdout } = await run('npm', ['pack', '--silent', '--pack-destination', dir, OPENSHIFT_PACKAGE]);
  await run('tar', ['-xzf', join(dir, stdout.trim()), '-C', dir]);
  const packed = readFileSync(join(dir, 'package/lib/specs/openshift-openapi-spec.json.gz'));
  const { definitions } = JSON.parse(gunzipSync(packed).toString());
  const resolve = (schema: KubeObject): KubeObject => {
    const { $ref, type = 'object', format, items, properties, required, additionalProperties } = schema;
    if ($ref !== undefined) return resolve(definitions[$ref.replace('#/definitions/', '')]);
    const each = Object.entries(properties ?? {}).map(([key, value]) => [key, resolve(value)]);
    return {
      type,
      ...(format && { format }),
      ...(items && { items: resolve(items) }),
      ...(properties && { properties: Object.fromEntries(each) }),
      ...(required && { required }),
      ...(additionalProperties && { additionalProperties: resolve(additionalProperties) }),
    };
  };
  const schema = resolve({ $ref: `#/definitions/${name}` });
  return { ...schema, properties: { ...schema.properties, metadata: { type: 'object' } } };
}
