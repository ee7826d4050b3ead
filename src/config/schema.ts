/** Every key of the configuration file: type, range, default, meaning. Types, checks, schema and manual come from here. */
import { KT_ARGV_CAP_MAX, KT_ENV_CAP_MAX } from '../kernel/layout.gen.ts';
import { DEFAULT_SENSITIVE_FILES, DEFAULT_SENSITIVE_SOCKETS } from '../kernel/prefixes.ts';
import { METADATA_PROVIDERS } from '../kubernetes/facts.ts';
import type { Action, Field, SectionField, Value } from './field.ts';
import { DEFAULT_SECRET_NAMES } from './secret-names.ts';

export const API_VERSION = 'kerntap.dev/v1alpha1';
export const PROFILES = ['default', 'build-systems', 'forensic'] as const;

const ON_OFF = ['on', 'off'] as const;
export const OPEN_MODES = ['off', 'writes', 'sensitive', 'all'] as const;
export const FSYNC_POLICIES = ['never', 'interval', 'always'] as const;
export const UNIX_MODES = ['off', 'sensitive', 'all'] as const;
/** What the tail shows where nothing else is said; losses and probes are never silent. */
export const DEFAULT_TAIL_KINDS = [
  'process.exec',
  'socket.connect',
  'file.open',
  'kerntap.loss',
  'kerntap.pod',
  'kerntap.probe',
] as const;
export const FAMILIES = ['process', 'file', 'socket'] as const;

const probe = (about: string) => ({ type: 'choice', words: ON_OFF, default: 'on', about }) as const;
const NAME = /^[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?$/;
const GLOB = /^[A-Za-z0-9*][A-Za-z0-9*._:@/+-]{0,511}$/;
const ABSOLUTE = /^\/.{0,4094}$/;
const HOST_PORT =
  /^(?:\[[0-9a-fA-F:.]+\]|[^\s:/[\]]+):(?:[1-9]\d{0,3}|[1-5]\d{4}|6[0-4]\d{3}|65[0-4]\d\d|655[0-2]\d|6553[0-5])$/;
const hostPort = (about: string) =>
  ({ type: 'text', pattern: HOST_PORT, shape: 'HOST:PORT (an IPv6 address in brackets)', about }) as const;
const file = (about: string) => ({ type: 'text', pattern: ABSOLUTE, shape: 'an absolute path', about }) as const;

const fact = (about: string) =>
  ({ type: 'text', pattern: /^[!-~]([ -~]{0,254}[!-~])?$/, shape: 'at most 256 printable characters', about }) as const;

const NODE = {
  apiServer: {
    type: 'switch',
    default: false,
    about:
      "true: the API server is asked for this node's object and for the UID of kube-system (rights: nodes: get, namespaces: get of kube-system).",
  },
  metadataService: {
    type: 'choice',
    words: ['off', 'auto', ...METADATA_PROVIDERS],
    default: 'off',
    about: "The cloud's metadata service is asked; auto: that of the cloud which the machine's firmware names.",
  },
  metadataUrl: {
    type: 'text',
    pattern: /^https?:\/\/[^\s/?#@]+\/?$/,
    shape: 'a URL such as http://[fd00:ec2::254]',
    about: 'Where it is; by default http://169.254.169.254.',
  },
  uid: fact("UID of the Node object; by default the service account token's."),
  ips: {
    type: 'list',
    of: { type: 'text', pattern: /^[0-9A-Fa-f.:]{2,45}$/, shape: 'an IP address', about: 'An address.' },
    max: 16,
    orOne: true,
    about: 'Addresses of the node.',
  },
  hostName: fact("Name of the machine; by default its own, in a pod the node's."),
  hostId: fact(
    "Id of the machine; by default the cloud's instance id, else /etc/machine-id, else the firmware's UUID.",
  ),
  osDescription: fact('Operating system of the machine.'),
  cloudProvider: fact('Whose cloud it is in: aws, azure, gcp and others.'),
  cloudAccountId: fact('Account, subscription or project.'),
  cloudRegion: fact('Region.'),
  cloudAvailabilityZone: fact('Availability zone.'),
} as const satisfies Record<string, Field>;

/** TLS of a client; what it talks to is named in `peer`. */
const clientTls = (peer: string) =>
  ({
    type: 'section',
    about: `TLS to ${peer}. The files are followed: renewed ones are taken without a restart.`,
    keys: {
      mode: {
        type: 'choice',
        words: ['auto', 'on', 'off'],
        default: 'auto',
        about: 'on, off, or auto: on where one of the other keys is set.',
      },
      caFile: file(`PEM with the authorities that may have signed the certificate of ${peer}; by default public ones.`),
      certFile: file('PEM with the certificate that is shown there, and what signed it; needs keyFile.'),
      keyFile: file('PEM with its key, without a passphrase.'),
      serverName: {
        type: 'text',
        pattern: NAME,
        shape: 'a host name or an IPv4 address',
        about: 'Name that the certificate there has to be for; by default the host that is called.',
      },
    },
  }) as const;

const globs = (about: string) =>
  ({
    type: 'list',
    of: { type: 'text', pattern: GLOB, shape: 'a name; * stands for any characters', about: 'A name, or a pattern.' },
    max: 256,
    orOne: true,
    about,
  }) as const;

const PROBES = {
  'process.exec': probe('Programs executed.'),
  'process.exit': probe('Ends of processes.'),
  'process.io_uring': probe('io_uring instances made: what follows on them is not seen by system-call probes.'),
  'file.open': {
    type: 'choice',
    words: OPEN_MODES,
    default: 'sensitive',
    about: 'Opens: writes (and creates), sensitive (also reads below sensitivePaths), all, off.',
  },
  'file.close': probe('Closes of files that were open for writing.'),
  'file.rename': probe('Renames.'),
  'file.unlink': probe('Removals of files.'),
  'file.chmod': probe('Changes of mode.'),
  'socket.connect': probe('Outgoing connections, with their result.'),
  'socket.accept': probe('Incoming connections.'),
  'socket.listen': probe('Sockets that begin to listen.'),
  'socket.close': probe('Ends of TCP connections, with their byte counts.'),
  'socket.unix': {
    type: 'choice',
    words: UNIX_MODES,
    default: 'sensitive',
    about:
      'Connections to AF_UNIX sockets, told as socket.connect (which has to be on): sensitiveSockets only, all, off.',
  },
} as const satisfies Record<string, Field>;

export const PROBE_KEYS: readonly string[] = Object.keys(PROBES);
const TAIL_WORDS = [
  ...PROBE_KEYS.filter((name) => name !== 'socket.unix'),
  'kerntap.loss',
  'kerntap.pod',
  'kerntap.probe',
  ...FAMILIES,
  'kerntap',
] as const;

const action = (what: string) =>
  ({ type: 'action', about: `What happens to ${what}: trace, off, or {sample: N} for one of N processes.` }) as const;

const RULE = {
  type: 'section',
  about: 'One rule: for workloads that match, what happens to each family.',
  required: ['match'],
  keys: {
    match: {
      type: 'section',
      about: 'All that is given here has to match; an empty match takes every workload.',
      keys: {
        namespace: globs('Namespaces.'),
        podLabels: {
          type: 'names',
          max: 64,
          about: 'Labels that the pod has, each with its value or a pattern of it.',
        },
        container: globs('Container names.'),
        image: globs('Images as the pod names them; * also stands for /.'),
        host: {
          type: 'switch',
          default: false,
          about: 'true: only what runs outside of containers. Rules that name a pod never match the host.',
        },
      },
    },
    process: action('process.* events (other events know their executable all the same)'),
    file: action('file.* events'),
    socket: action('socket.* events'),
    all: action('the families that the rule does not name'),
  },
} as const satisfies SectionField;

const HEADER = {
  type: 'section',
  about: 'One header: its value, or where that is.',
  required: ['name'],
  keys: {
    name: {
      type: 'text',
      pattern: /^[a-z][a-z0-9_.-]{0,63}$/,
      shape: 'the name of a header in lower case',
      about: 'Its name, such as authorization.',
    },
    value: {
      type: 'text',
      pattern: /^[\x20-\x7e]{1,8192}$/,
      shape: 'printable ASCII',
      about: 'Its value, where that is no secret.',
    },
    file: file('File whose content is the value; read again for every new connection.'),
    env: {
      type: 'text',
      pattern: /^[A-Za-z_][A-Za-z0-9_]{0,127}$/,
      shape: 'the name of a variable',
      about: 'Environment variable of the agent that has the value.',
    },
  },
} as const satisfies SectionField;

const OVERRIDE = {
  type: 'section',
  about: 'Other settings for some nodes, so that a change reaches 1 % of them first.',
  required: ['match', 'set'],
  keys: {
    match: {
      type: 'section',
      about: 'Which nodes: all that is given here has to match.',
      keys: {
        nodePercent: {
          type: 'number',
          min: 0,
          max: 100,
          about: 'So many of a hundred nodes, by a hash of the name: the nodes of 1 are among those of 5.',
        },
        nodeLabels: {
          type: 'names',
          max: 64,
          about:
            'Labels of the node as --node-labels tells them or, with node.apiServer, its object; not matched where they are not known.',
        },
      },
    },
    set: { type: 'part', about: 'Any of the settings above; lists replace the whole list.' },
  },
} as const satisfies SectionField;

/** Keys that an override may set. */
export const SETTING_KEYS = {
  clusterName: {
    type: 'text',
    default: '',
    pattern: /^$|^[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?$/,
    shape: 'letters, digits, dot, dash and underscore',
    about: 'Name of the cluster, stamped on every event.',
  },
  nodeName: {
    type: 'text',
    pattern: NAME,
    shape: 'letters, digits, dot, dash and underscore',
    about: 'Kubernetes name of this node; by default $NODE_NAME, else the host name.',
  },
  clusterUid: fact(
    'UID of the cluster: that of its namespace kube-system; by default read where node.apiServer is true.',
  ),
  node: {
    type: 'section',
    about:
      'Facts of the node, stamped on its events: where else to look for them, or what they are. A change needs a restart.',
    keys: NODE,
  },
  probes: { type: 'section', about: 'Which kinds of events are taken.', keys: PROBES },
  failedOpens: { type: 'switch', default: false, about: 'Opens that fail are events too.' },
  sensitivePaths: {
    type: 'list',
    of: { type: 'text', pattern: ABSOLUTE, shape: 'an absolute path', about: 'A path and all below it.' },
    max: 256,
    default: DEFAULT_SENSITIVE_FILES,
    about: 'Resolved paths whose reads are events too; * stands for one whole component.',
  },
  sensitiveSockets: {
    type: 'list',
    of: { type: 'text', pattern: ABSOLUTE, shape: 'an absolute path', about: 'The path of one socket.' },
    max: 256,
    default: DEFAULT_SENSITIVE_SOCKETS,
    about: 'AF_UNIX sockets whose connections are events.',
  },
  ignoredPorts: {
    type: 'list',
    of: { type: 'integer', min: 1, max: 65535, about: 'A port of TCP or UDP.' },
    max: 1024,
    default: [],
    about: 'Connections and listeners with one of these ports at either end are no events.',
  },
  policies: {
    type: 'list',
    of: RULE,
    max: 256,
    default: [],
    about: 'In order: for each family the first rule that matches a workload and names the family decides; else trace.',
  },
  argv: {
    type: 'section',
    about: 'Command lines of process.exec.',
    keys: {
      capBytes: {
        type: 'bytes',
        min: 64,
        max: KT_ARGV_CAP_MAX,
        default: 8192,
        about: 'A longer command line is cut and marked.',
      },
      redact: {
        type: 'section',
        about: 'Secrets in command lines and in the environment become <redacted:HASH> before anything else sees them.',
        keys: {
          enabled: {
            type: 'switch',
            default: true,
            about: 'false: secrets in command lines leave the node as they are.',
          },
          patterns: {
            type: 'list',
            of: {
              type: 'text',
              pattern: /^(?:[A-Za-z0-9_.-]{3,128}|[^*\n]{2,127}\*)$/,
              shape: 'a word, or a text that ends in * where the secret stands',
              about: 'A word or a text before a secret.',
            },
            max: 128,
            default: DEFAULT_SECRET_NAMES,
            about:
              'A word marks names that hold a secret (NAME=…, --NAME …, NAME: …); a text that ends in *, such as ' +
              '"--db-pass *", stands before one. URLs with a password, authorization headers and well-known token ' +
              'formats are always taken.',
          },
          keyFile: file(
            'File with the key (16 bytes or more) of the hash, for the same hashes on all nodes; by default a random key for each run.',
          ),
        },
      },
    },
  },
  env: {
    type: 'section',
    about: 'Environment variables on process.exec.',
    keys: {
      capBytes: {
        type: 'bytes',
        min: 64,
        max: KT_ENV_CAP_MAX,
        default: KT_ENV_CAP_MAX,
        about: 'So much of an environment is looked through.',
      },
      allow: {
        type: 'list',
        of: {
          type: 'text',
          pattern: /^[A-Za-z_][A-Za-z0-9_]{0,126}\*?$/,
          shape: 'the name of a variable; * at its end stands for any rest',
          about: 'A variable that may leave the node.',
        },
        max: 64,
        default: [],
        about: 'Variables that are told; none by default.',
      },
    },
  },
  tail: {
    type: 'section',
    about: 'The copy of the events on stdout (kubectl logs).',
    keys: {
      enabled: { type: 'switch', default: true, about: 'Events on stdout.' },
      kinds: {
        type: 'list',
        of: { type: 'choice', words: TAIL_WORDS, about: 'A kind or a family.' },
        max: 64,
        default: DEFAULT_TAIL_KINDS,
        about: 'Only these kinds or families.',
      },
      namespaces: { ...globs('Only events of these namespaces; none given: of all, and of the host.'), default: [] },
      eventsPerSecond: {
        type: 'integer',
        min: 0,
        max: 1_000_000,
        default: 20,
        about: 'Lines a second at most; 0: no limit.',
      },
      bytesPerSecond: {
        type: 'bytes',
        min: 0,
        max: 1 << 30,
        default: 16384,
        about: 'Bytes a second at most; 0: no limit.',
      },
      sensitiveFilesOnly: {
        type: 'switch',
        default: true,
        about: 'Of the file events only those below sensitivePaths.',
      },
    },
  },
  budgets: {
    type: 'section',
    about: 'Bounds on what the node spends; what is over them is lost as budget, files first, execs last, and counted.',
    keys: {
      containerEventsPerSecond: {
        type: 'integer',
        min: 0,
        max: 1_000_000,
        default: 1000,
        about: 'Events a second of one container, sustained; 0: no limit.',
      },
      nodeEventsPerSecond: {
        type: 'integer',
        min: 0,
        max: 10_000_000,
        default: 5000,
        about: 'Events a second of the node, sustained; 0: no limit.',
      },
      burstSeconds: {
        type: 'integer',
        min: 1,
        max: 3600,
        default: 10,
        about: 'So many seconds of a budget may be spent at once.',
      },
      cpuCores: {
        type: 'number',
        min: 0,
        max: 64,
        default: 0.25,
        about:
          'Cores that the agent itself may use: above it the budget of the node is lowered until it fits; 0: no limit.',
      },
    },
  },
  collector: {
    type: 'section',
    about: 'Where events go. A change needs a restart.',
    keys: {
      endpoint: hostPort('gRPC address of the collector.'),
      endpoints: {
        type: 'list',
        of: hostPort('gRPC address of one replica.'),
        max: 16,
        default: [],
        about:
          'Several replicas instead of endpoint: the first is used, the others stand in for it in order; every ten ' +
          'minutes or so the first is tried again.',
      },
      tls: clientTls('the collector'),
      compression: {
        type: 'choice',
        words: ['none', 'gzip'],
        default: 'none',
        about: 'gzip: fewer bytes on the way to the collector, for CPU at both ends (figures: docs/benchmarks.md).',
      },
    },
  },
  spool: {
    type: 'section',
    about:
      'Events on disk while the collector does not take them; while it keeps up nothing is written. A change needs a ' +
      'restart.',
    keys: {
      enabled: {
        type: 'switch',
        default: false,
        about: 'false: what memory cannot hold while the collector is away is lost. In the chart: spool.enabled.',
      },
      dir: {
        type: 'text',
        default: '/var/lib/kerntap/spool',
        pattern: ABSOLUTE,
        shape: 'an absolute path',
        about: "Its folder, of one agent alone. It is made, and readable by the agent's user only.",
      },
      maxBytes: {
        type: 'bytes',
        min: 1 << 20,
        max: 2 ** 40,
        about: 'Most that it takes; by default 1Gi, but no more than 5 % of the disk. Beyond, the oldest events go.',
      },
      minFreePercent: {
        type: 'number',
        min: 0,
        max: 100,
        default: 15,
        about: 'So much of the disk stays free; the kubelet begins to delete images at 15.',
      },
      fsync: {
        type: 'choice',
        words: FSYNC_POLICIES,
        default: 'interval',
        about:
          'When what is written is forced to the disk: never, interval, always. It decides what a crash of the node ' +
          'costs; one of the agent costs nothing that was written.',
      },
      fsyncMs: {
        type: 'integer',
        min: 10,
        max: 60_000,
        default: 1000,
        about: 'Of fsync interval: so often, in milliseconds.',
      },
      catchUpShare: {
        type: 'number',
        min: 0,
        max: 1,
        default: 0.5,
        about:
          'When the collector is back: share of the stream for what is in the spool, while there are newer events.',
      },
    },
  },
  stream: {
    type: 'section',
    about: 'Further ways that events take. A change needs a restart.',
    keys: {
      otlp: {
        type: 'section',
        about:
          'The same events as OpenTelemetry logs over gRPC (OTLP), beside the collector or, without collector.endpoint, ' +
          'instead of it.',
        keys: {
          endpoint: hostPort('gRPC address of an OTLP receiver, such as an OpenTelemetry Collector; by default none.'),
          headers: {
            type: 'list',
            of: HEADER,
            max: 32,
            default: [],
            about: 'Sent with each call.',
          },
          tls: clientTls('the OTLP receiver'),
          compression: {
            type: 'choice',
            words: ['gzip', 'none'],
            default: 'gzip',
            about: 'Of requests: gzip, which every receiver takes, or none.',
          },
          timeoutSeconds: {
            type: 'number',
            min: 0.1,
            max: 600,
            default: 10,
            about: 'A call that is not answered by then is made again.',
          },
          concurrency: {
            type: 'integer',
            min: 1,
            max: 64,
            default: 4,
            about: 'Calls at once; each holds one request in memory.',
          },
          maxBatchBytes: {
            type: 'bytes',
            min: 64 * 1024,
            max: 64 << 20,
            default: 1 << 20,
            about: 'A request at most, before compression; many receivers refuse more than 4Mi.',
          },
          queueBytes: {
            type: 'bytes',
            min: 1 << 20,
            max: 1 << 30,
            default: 16 << 20,
            about: 'Memory for events that the receiver has not confirmed; beyond it the oldest are lost.',
          },
          communityId: {
            type: 'switch',
            default: true,
            about: 'network.community_id on connections, computed in the agent.',
          },
          communityIdSeed: {
            type: 'integer',
            min: 0,
            max: 65535,
            default: 0,
            about: 'Its seed, as your network sensors have it.',
          },
        },
      },
    },
  },
  kubelet: {
    type: 'section',
    about: "This node's kubelet, which names the pods. A change needs a restart.",
    keys: {
      url: {
        type: 'text',
        pattern: /^https:\/\/[^\s/?#@]+\/?$/,
        shape: 'a URL such as https://127.0.0.1:10250',
        about: 'Its address; without it no pod is named.',
      },
      tokenFile: file("Bearer token for it; by default the pod's own service account."),
      caFile: file('CA that its certificate has to be signed by.'),
      insecureSkipVerify: {
        type: 'switch',
        default: false,
        about: 'true: its certificate is not verified (clusters whose kubelets sign their own).',
      },
      podsApiDir: {
        type: 'text',
        pattern: /^off$|^\/.{0,4094}$/,
        shape: 'an absolute path, or off',
        default: '/var/lib/kubelet/pods-api',
        about:
          'Folder of the socket of its Pods API (Kubernetes 1.36 with the gate, 1.37 and newer), which is asked first; ' +
          'off: never. Where no socket is there, only url is asked.',
      },
      reconcileSeconds: {
        type: 'integer',
        min: 10,
        max: 86_400,
        default: 300,
        about: 'Between two full lists by the Pods API beside its watch, less or more a fifth.',
      },
    },
  },
  pods: {
    type: 'section',
    about: 'What is told of pods. A change needs a restart.',
    keys: {
      labels: { ...globs('Labels that are told; policies match the others, too.'), default: ['*'] },
      annotations: { ...globs('Annotations that are told (in kerntap.pod); none by default.'), default: [] },
      maxLabelBytes: {
        type: 'bytes',
        min: 0,
        max: 65_536,
        default: 4096,
        about:
          'Bound of the labels of one pod, names and values together, and of its annotations: what is over it is not told.',
      },
    },
  },
  hold: {
    type: 'section',
    about: 'Events of a pod that is not known yet wait for its name, in order. A change needs a restart.',
    keys: {
      seconds: {
        type: 'number',
        min: 0,
        max: 5,
        default: 1,
        about: 'At most for so long; then they leave as pending, and a kerntap.pod follows. 0: none waits.',
      },
      bytes: {
        type: 'bytes',
        min: 1 << 16,
        max: 256 << 20,
        default: 16 << 20,
        about: 'Memory for all that wait; where it is full the oldest leave.',
      },
    },
  },
  metrics: {
    type: 'section',
    about: 'Prometheus metrics and health. A change needs a restart.',
    keys: {
      listen: {
        type: 'text',
        pattern: /^off$|^(?:\[[0-9a-fA-F:.]+\]|[^\s:/[\]]*):\d{1,5}$/,
        default: ':9464',
        shape: 'HOST:PORT, :PORT for every address, or off',
        about: 'Address to listen on; off for none.',
      },
    },
  },
} as const satisfies Record<string, Field>;

const PART_ROOT = { type: 'section', about: '', keys: SETTING_KEYS } as const satisfies SectionField;

export const ROOT = {
  type: 'section',
  about: 'Configuration of the agent.',
  required: ['apiVersion'],
  keys: {
    apiVersion: { type: 'choice', words: [API_VERSION], about: 'Version of this format.' },
    profile: {
      type: 'choice',
      words: PROFILES,
      default: 'default',
      about: 'Defaults for a purpose: default; build-systems (many short processes and files); forensic (everything).',
    },
    ...SETTING_KEYS,
    overrides: {
      type: 'list',
      of: OVERRIDE,
      max: 64,
      default: [],
      about: 'Applied in order, each on top of what is above it.',
    },
  },
} as const satisfies SectionField;

/** The settings of one node: defaults, profile, file, overrides and flags laid over one another. */
export type Settings = Value<typeof PART_ROOT>;
export type PolicyRule = Value<typeof RULE>;
export type Override = Value<typeof OVERRIDE>;
export type ProbeKey = keyof typeof PROBES;
export type { Action };

/** The section of what an override may set. */
export const SETTINGS_ROOT: SectionField = PART_ROOT;
