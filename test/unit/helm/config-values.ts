/** Keys of the agent's configuration file that the chart sets from values of its own. */
const SET_BY_THE_CHART = [
  'apiVersion',
  'clusterName',
  'clusterUid',
  'nodeName',
  'node',
  'collector',
  'kubelet',
  'metrics',
];

export interface ConfigValues {
  /** Schema of the chart's value `config`. */
  readonly config: unknown;
  /** Schema of the chart's value `node`, which is the section of that name. */
  readonly node: unknown;
  /** What it refers to as `#/definitions/NAME`. */
  readonly definitions: unknown;
}

/**
 * The agent's JSON Schema as the schema of the chart's value `config`: without what the chart sets, and without patterns,
 * which Helm's regular expressions (RE2) cannot all read; the agent looks at those itself.
 */
export function configValues(schema: Readonly<Record<string, unknown>>): ConfigValues {
  const { properties, $defs } = forHelm(schema) as { properties: Record<string, unknown>; $defs: unknown };
  const node = properties['node'];
  for (const key of SET_BY_THE_CHART) delete properties[key];
  return { node, config: { type: 'object', additionalProperties: false, properties }, definitions: $defs };
}

function forHelm(node: unknown): unknown {
  if (Array.isArray(node)) return node.map(forHelm);
  if (typeof node === 'string') return node.replace(/^#\/\$defs\//, '#/definitions/');
  if (typeof node !== 'object' || node === null) return node;
  const entries = Object.entries(node).filter(([key, value]) => key !== 'pattern' || typeof value !== 'string');
  return Object.fromEntries(entries.map(([key, value]) => [key, forHelm(value)]));
}
