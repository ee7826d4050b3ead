/** Event rows for people at a terminal: one line each, in columns, coloured; everything from outside is escaped. */
import { type Cell, quote, type Row } from '../../proto/ndjson.ts';

const RESET = '\x1b[0m';
const DIM = '\x1b[2m';
const RED = '\x1b[31m';
const YELLOW = '\x1b[33m';
const FAMILY_COLOURS: Readonly<Record<string, string>> = {
  process: '\x1b[32m',
  file: '\x1b[36m',
  socket: '\x1b[35m',
  kerntap: '\x1b[33m',
};

const KIND_WIDTH = 16;
const WHERE_WIDTH = 28;
const WHO_WIDTH = 24;

/** Any string as a terminal shows it: controls, bidi marks and the like as \uXXXX, a backslash doubled. */
export function plain(text: string): string {
  return quote(text).slice(1, -1).replaceAll('\\"', '"');
}

function textOf(row: Row, name: string): string {
  const cell = row[name];
  if (cell === null || cell === undefined) return '';
  return plain(typeof cell === 'object' ? JSON.stringify(cell) : String(cell));
}

function pad(text: string, width: number): string {
  return text.length > width ? `${text.slice(0, width - 1)}…` : text.padEnd(width);
}

/** An argument as a shell would take it, so that ["a b"] and ["a", "b"] look different. */
function argument(cell: Cell): string {
  const text = plain(String(cell));
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

function baseName(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1);
}

/** Pod and container, or the node where it is not in one. */
function where(row: Row): string {
  const pod = textOf(row, 'k8s_pod_name');
  if (pod !== '') {
    const container = textOf(row, 'k8s_container_name');
    return `${textOf(row, 'k8s_namespace_name')}/${pod}${container === '' ? '' : `:${container}`}`;
  }
  const uid = textOf(row, 'k8s_pod_uid');
  if (uid !== '') return `pod ${uid}`;
  const container = textOf(row, 'container_id');
  return container === '' ? textOf(row, 'k8s_node_name') : `container ${container.slice(0, 12)}`;
}

function who(row: Row): string {
  const pid = textOf(row, 'process_pid');
  if (pid === '') return '-';
  const name = baseName(textOf(row, 'process_executable_path')) || textOf(row, 'process_command');
  return `${name} ${pid}`;
}

function endpoint(row: Row, end: string): string {
  const address = textOf(row, `network_${end}_address`);
  if (address === '') return '';
  const host = address.includes(':') ? `[${address}]` : address;
  return `${host}:${textOf(row, `network_${end}_port`)}`;
}

function bytesText(row: Row, name: string): string {
  const bytes = Number(row[name] ?? 0);
  if (bytes < 1024) return `${bytes} B`;
  const unit = Math.min(3, Math.floor(Math.log2(bytes) / 10));
  return `${(bytes / 1024 ** unit).toFixed(1)} ${'KMG'[unit - 1] ?? ''}iB`;
}

function flags(row: Row, names: Readonly<Record<string, string>>): string {
  return Object.entries(names)
    .filter(([name]) => row[name] === true)
    .map(([, label]) => ` ${label}`)
    .join('');
}

function filePath(row: Row, name: string): string {
  const state = textOf(row, `${name}_state`);
  return (textOf(row, name) || '?') + (state === '' || state === 'ok' ? '' : ` (${state})`);
}

function unixName(row: Row): string {
  const name = textOf(row, 'network_unix_path') || textOf(row, 'network_unix_name');
  return row['network_unix_abstract'] === true ? `@${name}` : name;
}

/** What happened, after who and where. */
function what(row: Row): string {
  switch (row['kind']) {
    case 'process.exec': {
      const args = row['process_command_args'];
      const list = Array.isArray(args) ? args.map(argument).join(' ') : '';
      const cut = row['process_command_args_truncated'] === true ? ' …' : '';
      return (
        `${textOf(row, 'process_executable_path') || textOf(row, 'process_executable_asked') || '?'}  ${list}${cut}` +
        flags(row, {
          process_executable_upper_layer: '(not from the image)',
          process_executable_memfd: '(memfd)',
          process_executable_deleted: '(deleted)',
          process_secureexec: '(gained privilege)',
        })
      );
    }
    case 'process.exit': {
      const seconds = (Number(row['process_duration_ns'] ?? 0) / 1e9).toFixed(3);
      const signal = textOf(row, 'process_exit_signal');
      return `${signal === '' ? `code ${textOf(row, 'process_exit_code')}` : `signal ${signal}`} after ${seconds} s`;
    }
    case 'process.io_uring':
      return `${textOf(row, 'io_uring_entries')} entries`;
    case 'file.open':
      return (
        `${filePath(row, 'file_path')}  ${textOf(row, 'file_access')}` +
        flags(row, { file_created: 'created', file_sensitive: 'sensitive' })
      );
    case 'file.close':
      return (
        `${filePath(row, 'file_path')}  ${bytesText(row, 'file_size')}` +
        flags(row, { file_modified: 'modified', file_sensitive: 'sensitive' })
      );
    case 'file.rename':
      return `${filePath(row, 'file_path')} -> ${filePath(row, 'file_new_path')}`;
    case 'file.unlink':
      return filePath(row, 'file_path');
    case 'file.chmod':
      return `${filePath(row, 'file_path')}  ${textOf(row, 'file_mode')}`;
    case 'socket.connect': {
      const peer = endpoint(row, 'peer');
      const asked = endpoint(row, 'asked');
      const via = asked !== '' && peer !== '' && asked !== peer ? ` (asked ${asked})` : '';
      return `${textOf(row, 'network_transport')} ${endpoint(row, 'local')} -> ${unixName(row) || peer || asked}${via}`;
    }
    case 'socket.accept':
      return `${textOf(row, 'network_transport')} ${endpoint(row, 'local')} <- ${endpoint(row, 'peer')}`;
    case 'socket.listen':
      return `${textOf(row, 'network_transport')} ${endpoint(row, 'local')}`;
    case 'socket.close':
      return (
        `${textOf(row, 'network_transport')} ${endpoint(row, 'local')} - ${endpoint(row, 'peer')}` +
        `  out ${bytesText(row, 'network_bytes_sent')} in ${bytesText(row, 'network_bytes_received')}` +
        `, ended by ${textOf(row, 'network_ended_by')}`
      );
    case 'kerntap.loss':
      return (
        `lost ${textOf(row, 'loss_count')} ${textOf(row, 'loss_kind') || 'events'} in ${textOf(row, 'loss_stage')}: ` +
        `${textOf(row, 'loss_reason')} (${textOf(row, 'loss_total')} in this run)`
      );
    case 'kerntap.pod':
      return `${textOf(row, 'k8s_namespace_name')}/${textOf(row, 'k8s_pod_name')} ${textOf(row, 'pod_state')}`;
    case 'kerntap.probe': {
      const reason = textOf(row, 'probe_reason');
      return `${textOf(row, 'probe_kind')} ${textOf(row, 'probe_state')} (${textOf(row, 'probe_tier')})${reason && `: ${reason}`}`;
    }
    default:
      return '';
  }
}

/** One row as one line without its newline. `columns`: the terminal's width, 0: as long as it gets. */
export function prettyLine(row: Row, colour: boolean, columns = 0): string {
  const kind = textOf(row, 'kind');
  const own = kind.startsWith('kerntap.');
  const error = textOf(row, 'error');
  const entry = textOf(row, 'entry');
  const marks: string[] = [];
  if (entry === 'exec') marks.push('injected');
  if (row['existing'] === true) marks.push('existing');
  if (row['actor'] === 'cgroup_only') marks.push('process not known');
  if (row['metadata_state'] === 'pending') marks.push('pod pending');

  const head = `${textOf(row, 'time').slice(11, 23)} `;
  const kindText = pad(kind, KIND_WIDTH);
  const place = own ? '' : `${pad(where(row), WHERE_WIDTH)} ${pad(who(row), WHO_WIDTH)} `;
  const tail = `${error === '' ? '' : ` ${error}`}${marks.length === 0 ? '' : ` [${marks.join(', ')}]`}`;
  let body = what(row);
  const room = columns - head.length - kindText.length - 1 - place.length - tail.length;
  if (columns > 0 && body.length > Math.max(room, 20)) body = `${body.slice(0, Math.max(room, 20) - 1)}…`;
  if (!colour) return `${head}${kindText} ${place}${body}${tail}`;

  const paint = FAMILY_COLOURS[kind.slice(0, kind.indexOf('.'))] ?? '';
  const errorText = error === '' ? '' : ` ${RED}${error}${RESET}`;
  const markText = marks.length === 0 ? '' : ` ${YELLOW}[${marks.join(', ')}]${RESET}`;
  return `${DIM}${head}${RESET}${paint}${kindText}${RESET} ${DIM}${place}${RESET}${body}${errorText}${markText}`;
}
