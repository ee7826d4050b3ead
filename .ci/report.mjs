// node report.mjs files REPORT: the test files of vitest's JSON report in which something failed or did not end, a line each.
// node report.mjs counts PART FAILURES FLAKY REPORT [AGAIN]: prints `passed failed skipped`. Where AGAIN, the report of a
// second run of some files, has a file, that counts. Appends to FAILURES what failed, and to FLAKY what did so before it was
// run again, both with their messages.
import { appendFileSync, readFileSync } from 'node:fs';
import { relative } from 'node:path';

/** Lines of a failure that are told; the rest is in the part's log. */
const MAX_LINES = 30;

const readReport = (path) => JSON.parse(readFileSync(path, 'utf8')).testResults;
const pathOf = (file) => relative(process.cwd(), file.name);

/** What did not go well in a file: titles with messages. A test that is pending was running when its process ended. */
function problemsOf(file) {
  const path = pathOf(file);
  const problems = file.assertionResults
    .filter(({ status }) => status === 'failed' || status === 'pending')
    .map((test) => ({
      title: `${path}: ${test.fullName}`,
      messages: test.status === 'pending' ? ['did not end'] : test.failureMessages,
    }));
  // A file that could not be loaded or prepared: its tests did not run.
  if (file.status === 'failed' && problems.length === 0) problems.push({ title: path, messages: [file.message ?? ''] });
  return problems;
}

function tell(to, part, problems) {
  for (const { title, messages } of problems) {
    const lines = messages.join('\n').split('\n').slice(0, MAX_LINES);
    appendFileSync(to, [`${part}: ${title}`, ...lines.map((line) => `    ${line}`), ''].join('\n'));
  }
}

const [command, ...args] = process.argv.slice(2);
if (command === 'files') {
  const [reportPath] = args;
  for (const file of readReport(reportPath)) if (problemsOf(file).length > 0) console.log(pathOf(file));
} else {
  const [part, failuresPath, flakyPath, reportPath, againPath] = args;
  const again = new Map((againPath ? readReport(againPath) : []).map((file) => [file.name, file]));
  const counts = { passed: 0, failed: 0, skipped: 0 };
  for (const first of readReport(reportPath)) {
    const last = again.get(first.name) ?? first;
    const problems = problemsOf(last);
    for (const { status } of last.assertionResults) {
      if (status === 'passed') counts.passed += 1;
      else if (status !== 'failed' && status !== 'pending') counts.skipped += 1;
    }
    counts.failed += problems.length;
    tell(failuresPath, part, problems);
    if (last !== first) tell(flakyPath, part, problemsOf(first));
  }
  console.log(counts.passed, counts.failed, counts.skipped);
}
