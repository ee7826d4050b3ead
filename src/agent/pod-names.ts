/** Where the agent learns the names of pods: its sources, and what becomes of what they tell. */
import type { Logger } from 'pino';
import { matchesGlob } from '../config/glob.ts';
import type { Settings } from '../config/schema.ts';
import { KubeletSource } from '../kubernetes/kubelet.ts';
import type { LabelRules } from '../kubernetes/pod-labels.ts';
import { podMessage } from '../kubernetes/pods.ts';
import { PodsApi } from '../kubernetes/pods-api.ts';
import { PodResolver } from '../kubernetes/resolver.ts';
import type { WorkloadTable } from '../kubernetes/table.ts';
import { Backoff } from '../stream/backoff.ts';
import type { OwnEvent } from '../stream/encoder.ts';
import type { AgentOptions } from './options.ts';

/** Between attempts to reach a kubelet that restarts: on the node itself, so nobody else is asked the more for it. */
const RETRY_MIN_MS = 100;
const RETRY_MAX_MS = 5000;

export interface PodNameParts {
  readonly options: Pick<
    AgentOptions,
    'kubelet' | 'podsApiDir' | 'kubeletTokenFile' | 'kubeletCaFile' | 'kubeletInsecure' | 'settings'
  >;
  readonly nodeName: string;
  readonly table: WorkloadTable;
  /** A kerntap.pod. */
  readonly tell: (event: OwnEvent) => void;
  /** Takes the secrets out of a command line. */
  readonly redact: (command: string) => string;
  readonly log: Logger;
}

/** Undefined: nobody is to be asked. Throws TypeError for a URL that is none. */
export function openPodNames(parts: PodNameParts): PodResolver | undefined {
  const { options, table, tell, redact, log } = parts;
  const { kubelet, podsApiDir } = options;
  if (kubelet === undefined && podsApiDir === undefined) return undefined;
  return new PodResolver({
    podsApi: podsApiDir === undefined ? undefined : openPodsApi(podsApiDir, options.settings),
    kubelet: kubelet === undefined ? undefined : openKubelet(kubelet, parts),
    table,
    onPod: ({ state, pod, source }) => {
      const containers = pod.containers.map((container) => {
        return { ...container, probeCommands: container.probeCommands.map(redact) };
      });
      tell({ pod: podMessage({ ...pod, containers }, state, source) });
    },
    onError: (error) => log.warn({ reason: error.message, kubelet }, 'no pods from the kubelet'),
    onSource: (source) => {
      if (source === undefined) log.warn('nobody names pods: events of new ones leave as pending');
      else log.info({ source }, source === 'pods-api' ? 'pods by the Pods API' : 'pods by HTTPS /pods');
    },
  });
}

function openPodsApi(dir: string, settings: Settings): PodsApi {
  return new PodsApi({
    dir,
    retry: new Backoff(RETRY_MIN_MS, RETRY_MAX_MS),
    rules: labelRulesOf(settings),
    reconcileMs: settings.kubelet.reconcileSeconds * 1000,
  });
}

function openKubelet(url: string, { options, nodeName }: PodNameParts): KubeletSource {
  const { kubeletTokenFile, kubeletCaFile, kubeletInsecure, settings } = options;
  return new KubeletSource({
    url,
    nodeName,
    insecure: kubeletInsecure,
    rules: labelRulesOf(settings),
    ...(kubeletTokenFile === undefined ? {} : { tokenFile: kubeletTokenFile }),
    ...(kubeletCaFile === undefined ? {} : { caFile: kubeletCaFile }),
  });
}

export function labelRulesOf({ pods }: Pick<Settings, 'pods'>): LabelRules {
  const among = (patterns: readonly string[]) => (name: string) =>
    patterns.some((pattern) => matchesGlob(name, pattern));
  return { label: among(pods.labels), annotation: among(pods.annotations), maxBytes: pods.maxLabelBytes };
}
