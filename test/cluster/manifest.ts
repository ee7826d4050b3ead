import { PODS_API_DIR } from '../../src/kubernetes/pods-api.ts';
import type { Cluster, KubeObject } from './cluster.ts';
import { EVENTS_DIR, type Product, productImage } from './product.ts';

/** What the agent needs of the node: read-only views, no more than two capabilities, no right but one. */
function agentPod(account: string, image: string, args: readonly string[]): KubeObject {
  const views = { tracing: '/sys/kernel/tracing', cgroup: '/sys/fs/cgroup' };
  const mounts = { ...views, 'pods-api': PODS_API_DIR, config: '/etc/kerntap' };
  const field = (name: string, fieldPath: string) => ({ name, valueFrom: { fieldRef: { fieldPath } } });
  return {
    serviceAccountName: account,
    hostPID: true,
    tolerations: [{ operator: 'Exists' }],
    containers: [
      {
        name: 'agent',
        image,
        imagePullPolicy: 'IfNotPresent',
        args: ['agent', '--config', '/etc/kerntap/kerntap.yaml', '--kubelet', 'https://$(HOST_IP):10250', ...args],
        env: [field('NODE_NAME', 'spec.nodeName'), field('HOST_IP', 'status.hostIP')],
        securityContext: {
          readOnlyRootFilesystem: true,
          allowPrivilegeEscalation: false,
          capabilities: { drop: ['ALL'], add: ['BPF', 'PERFMON'] },
          seccompProfile: { type: 'RuntimeDefault' },
        },
        volumeMounts: Object.entries(mounts).map(([name, mountPath]) => ({ name, mountPath, readOnly: true })),
      },
    ],
    volumes: [
      ...Object.entries(views).map(([name, path]) => ({ name, hostPath: { path } })),
      { name: 'pods-api', hostPath: { path: PODS_API_DIR, type: 'DirectoryOrCreate' } },
      { name: 'config', configMap: { name: 'agent' } },
    ],
  };
}

function collectorPod(image: string): KubeObject {
  return {
    automountServiceAccountToken: false,
    securityContext: { runAsNonRoot: true, runAsUser: 65532, runAsGroup: 65532, fsGroup: 65532 },
    containers: [
      {
        name: 'collector',
        image,
        imagePullPolicy: 'IfNotPresent',
        args: ['collector', '--out', EVENTS_DIR],
        securityContext: {
          readOnlyRootFilesystem: true,
          allowPrivilegeEscalation: false,
          capabilities: { drop: ['ALL'] },
          seccompProfile: { type: 'RuntimeDefault' },
        },
        volumeMounts: [{ name: 'events', mountPath: '/var/lib/kerntap' }],
      },
    ],
    volumes: [{ name: 'events', emptyDir: {} }],
  };
}

/**
 * kerntap by hand, without the chart: an agent on each node that may only get nodes/pods, and one collector. `config` is
 * the agent's configuration file, without its apiVersion.
 */
export async function deployByHand(cluster: Cluster, config: KubeObject): Promise<Product> {
  const image = productImage();
  const namespace = await cluster.namespace('kerntap-product');
  const product = { cluster, namespace, account: 'agent', agent: 'ds/agent', collector: 'sts/collector' };
  await cluster.account(namespace, 'agent', [{ apiGroups: [''], resources: ['nodes/pods'], verbs: ['get'] }]);
  const controller = (kind: string, name: string, spec: KubeObject, more: KubeObject = {}) => ({
    apiVersion: 'apps/v1',
    kind,
    metadata: { name, namespace },
    spec: {
      selector: { matchLabels: { app: name } },
      template: { metadata: { labels: { app: name } }, spec },
      ...more,
    },
  });
  await cluster.apply(
    {
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: { name: 'agent', namespace },
      data: { 'kerntap.yaml': JSON.stringify({ apiVersion: 'kerntap.dev/v1alpha1', ...config }) },
    },
    {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name: 'collector', namespace },
      spec: { clusterIP: 'None', selector: { app: 'collector' }, ports: [{ name: 'grpc', port: 4750 }] },
    },
    controller('StatefulSet', 'collector', collectorPod(image), { serviceName: 'collector' }),
    controller('DaemonSet', 'agent', agentPod('agent', image, ['--collector', 'collector:4750'])),
  );
  return product;
}
