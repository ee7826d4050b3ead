import type { NodeFacts } from '../proto/contract.ts';

/** Facts of a node of which nothing is known but what is given. */
export function nodeFacts(given: Partial<NodeFacts> = {}): NodeFacts {
  return {
    runId: Buffer.alloc(16, 7),
    bootId: '',
    clusterName: '',
    nodeName: '',
    hostName: '',
    kernelRelease: '',
    architecture: '',
    machineId: '',
    nodeUid: '',
    nodeIps: [],
    clusterUid: '',
    hostId: '',
    cloudProvider: '',
    cloudAccountId: '',
    cloudRegion: '',
    cloudAvailabilityZone: '',
    osDescription: '',
    sources: {},
    ...given,
  };
}
