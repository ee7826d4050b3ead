/** The facts of this node as the agent's options ask for them. */
import type { Logger } from 'pino';
import { apiServerUrl } from '../kubernetes/facts-api.ts';
import { KUBELET_CA_FILE, KUBELET_TOKEN_FILE } from '../kubernetes/kubelet.ts';
import { NodeFactsKeeper } from '../kubernetes/node-facts.ts';
import type { AgentOptions } from './options.ts';

/** `onChange`: what was asked for came, or came otherwise than before. */
export function openNodeFacts(options: AgentOptions, log: Logger, onChange: () => void): NodeFactsKeeper {
  const { settings, nodeName, procDir } = options;
  const { clusterName, clusterUid, node } = settings;
  const url = apiServerUrl(process.env);
  if (node.apiServer && url === undefined)
    log.warn('node.apiServer is true, but this is no pod: no API server is asked');
  return new NodeFactsKeeper({
    nodeName,
    proc: procDir,
    tokenFile: options.kubeletTokenFile ?? KUBELET_TOKEN_FILE,
    values: {
      clusterName,
      clusterUid: clusterUid ?? '',
      nodeUid: node.uid ?? '',
      nodeIps: node.ips ?? [],
      hostName: node.hostName ?? '',
      hostId: node.hostId ?? '',
      osDescription: node.osDescription ?? '',
      cloudProvider: node.cloudProvider ?? '',
      cloudAccountId: node.cloudAccountId ?? '',
      cloudRegion: node.cloudRegion ?? '',
      cloudAvailabilityZone: node.cloudAvailabilityZone ?? '',
    },
    apiServer:
      node.apiServer && url !== undefined ? { url, tokenFile: KUBELET_TOKEN_FILE, caFile: KUBELET_CA_FILE } : undefined,
    metadata: node.metadataService === 'off' ? undefined : { provider: node.metadataService, url: node.metadataUrl },
    onChange,
    onProblem: (problem) => log.warn({ reason: problem }, 'a fact of the node is not known'),
  });
}
