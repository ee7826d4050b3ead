// node report.mjs PART REPORT FAILURES: prints the counts of vitest's JSON report, `passed failed skipped`, and appends to
// FAILURES what failed, with its messages.
import { appendFileSync, readFileSync } from 'node:fs';
import { relative } from 'node:path';

/** Lines of a failure that are told; the rest is in the part's log. */
const MAX_LINES = 30;

const [part, reportPath, failuresPath] = process.argv.slice(2);
const report = JSON.parse(readFileSync(reportPath, 'utf8'));

/** @param {string} title @param {string[]} messages */
const tell = (title, messages) => {
  const lines = messages.join('\n').split('\n').slice(0, MAX_LINES);
  appendFileSync(failuresPath, [`${part}: ${title}`, ...lines.map((line) => `    ${line}`), ''].join('\n'));
};

let brokenFiles = 0;
for (const file of report.testResults) {
  const path = relative(process.cwd(), file.name);
  // A file that could not be loaded has no tests that could have failed.
  if (file.status === 'failed' && file.assertionResults.length === 0) {
    brokenFiles += 1;
    tell(path, [file.message ?? '']);
  }
  for (const test of file.assertionResults) {
    if (test.status === 'failed') tell(`${path}: ${test.fullName}`, test.failureMessages);
  }
}
console.log(report.numPassedTests, report.numFailedTests + brokenFiles, report.numPendingTests + report.numTodoTests);
