import { setTimeout as delay } from 'node:timers/promises';
import { LOCAL_SOCKET } from '../agent/local-socket.ts';
import { plain } from '../tail/pretty.ts';
import type { Balance } from '../telemetry/balance.ts';
import type { LedgerSnapshot } from '../telemetry/ledger.ts';
import { type FlagSpecs, flagHelp, parseFlags, text } from './flags.ts';
import { askAgent, LocalError } from './local-client.ts';

const FLAGS = {
  json: { type: 'boolean', help: 'one JSON object instead of a table' },
  socket: { type: 'string', value: 'PATH', help: `socket of the agent (${LOCAL_SOCKET})` },
  help: { type: 'boolean', help: 'print this text' },
} as const satisfies FlagSpecs;

const HELP = `Usage: kerntap ledger [FLAGS]

Prints the books of the agent that runs on this node, since its start: of every kind what was seen, suppressed (nobody
asked for it), lost, delivered (durable at the collector) and still in flight, in memory or in the spool, and whether that
adds up; then what it found of earlier runs. Exit code: 0 it balances, 1 it does not or no agent answers, 2 usage.

Flags (defaults in brackets):
${flagHelp(FLAGS)}
`;

export interface Books {
  readonly ledger: LedgerSnapshot;
  readonly balance: Balance;
}

/** Acts and drains in progress show as gaps for a moment. */
const TRIES = 5;
const PAUSE_MS = 100;

async function readBooks(socketPath: string): Promise<Books> {
  for await (const line of askAgent(socketPath, { ask: 'ledger' })) return JSON.parse(line) as Books;
  throw new LocalError('the agent closed the connection');
}

/** Resolves to 0 where the books balance, else 1. Throws UsageError, LocalError. */
export async function run(args: readonly string[]): Promise<number> {
  const values = parseFlags(args, FLAGS);
  if (values['help']) {
    process.stdout.write(HELP);
    return 0;
  }
  const socketPath = text(values, 'socket') ?? LOCAL_SOCKET;
  let books = await readBooks(socketPath);
  for (let tries = 1; !books.balance.balances && tries < TRIES; tries++) {
    await delay(PAUSE_MS);
    books = await readBooks(socketPath);
  }
  process.stdout.write(values['json'] ? `${JSON.stringify(books)}\n` : booksAsTable(books));
  return books.balance.balances ? 0 : 1;
}

const WHERE: Readonly<Record<string, string>> = {
  hook: 'between hook and ring',
  ring: 'in the rings',
  encoder: 'between ring and encoder',
  batch: 'between encoder and stream',
  stream: 'between stream and collector',
  otlp: 'between stream and OTLP receiver',
};

/** For people: a line for each kind, then each loss, then the verdict. */
export function booksAsTable({ ledger, balance }: Books): string {
  const columns = ['seen', 'suppressed', 'lost', 'delivered', 'inFlight'] as const;
  const rows = balance.kinds.map((line) => [line.kind || '(not known)', ...columns.map((name) => String(line[name]))]);
  const totals = columns.map((name) => String(balance.kinds.reduce((sum, line) => sum + line[name], 0)));
  const table = [['kind', 'seen', 'suppressed', 'lost', 'delivered', 'in flight'], ...rows, ['all', ...totals]];
  const widths = table[0]?.map((_, index) => Math.max(...table.map((row) => (row[index] ?? '').length))) ?? [];
  const lines = table.map((row) =>
    row
      .map((cell, index) => (index === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[index] ?? 0)))
      .join('  '),
  );
  if (ledger.lost.length > 0) lines.push('', 'lost');
  for (const { stage, reason, kind, total, unaccountable } of ledger.lost) {
    const least = unaccountable ? 'at least ' : '';
    lines.push(`  ${least}${total} ${kind || 'events'} in ${stage}: ${reason}`);
  }
  const { user, earlierRuns } = ledger;
  if (user.spooled > 0) lines.push('', `${user.spooled} of those in flight are on disk: a restart keeps them.`);
  if (earlierRuns !== undefined) {
    const { spooled, acked, lost } = earlierRuns;
    if (spooled + acked > 0) lines.push('', `of earlier runs: ${spooled} events are on disk, ${acked} were delivered`);
    for (const { run, stage, reason, kind, total, unaccountable } of lost) {
      const least = unaccountable ? 'at least ' : '';
      lines.push(`  run ${run.slice(0, 8)}: ${least}${total} ${kind || 'events'} lost in ${stage}: ${reason}`);
    }
  }
  if (ledger.otlp !== undefined) {
    const { accepted, confirmed, inFlight, lost } = ledger.otlp;
    const missing = lost.reduce((sum, { total }) => sum + total, 0);
    lines.push(
      '',
      `OTLP: ${accepted} given, ${confirmed} taken by the receiver, ${missing} lost, ${inFlight} in flight`,
    );
    for (const { reason, kind, total } of lost) lines.push(`  ${total} ${kind || 'events'}: ${reason}`);
  }
  lines.push('', balance.balances ? 'The books balance.' : 'The books do not balance:');
  for (const { at, events } of balance.gaps) lines.push(`  ${events} events unexplained ${WHERE[at] ?? at}`);
  return `${lines.map(plain).join('\n')}\n`;
}
