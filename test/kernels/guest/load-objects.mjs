// load-objects.mjs fast|legacy: loads every program of every object by itself, attaches and detaches it, and prints one
// line of JSON a program: {object, name, section, loaded, attached, reason, ms}.
import { readdirSync } from 'node:fs';
import { createRequire } from 'node:module';

const build = '/kerntap/native/build';
const addon = createRequire(import.meta.url)(`${build}/kerntap.node`);
const suffix = process.argv[2] === 'legacy' ? '.legacy.bpf.o' : '.bpf.o';
const objects = readdirSync(build)
  .filter((name) => name.endsWith('.bpf.o') && name.endsWith('.legacy.bpf.o') === (suffix === '.legacy.bpf.o'))
  .sort((a, b) => Number(b.startsWith('core')) - Number(a.startsWith('core')));

const tell = (finding) => console.log(JSON.stringify(finding));
const attempt = (act) => {
  try {
    act();
    return '';
  } catch (error) {
    return String(error.message ?? error).slice(-3000);
  }
};

const core = `${build}/core${suffix}`;
for (const object of objects) {
  // a tap each: it holds a bounded number of objects
  let tap;
  const failure = attempt(() => {
    tap = addon.open({ coreObject: core, maps: { kt_slots: addon.possibleCpus() * 4 } });
  });
  const isCore = core.endsWith(`/${object}`);
  for (const { name, section } of addon.programs(`${build}/${object}`)) {
    const start = performance.now();
    const refused = failure || (isCore ? '' : attempt(() => addon.load(tap, `${build}/${object}`, [name])));
    const row = { object, name, section, loaded: refused === '', attached: false, reason: refused };
    // a bare raw_tp and an iterator are run, not attached
    if (row.loaded && section !== 'raw_tp' && !section.startsWith('iter')) {
      row.reason = attempt(() => addon.attach(tap, name));
      row.attached = row.reason === '';
      if (row.attached) addon.detach(tap, name);
    }
    tell({ ...row, ms: Math.round(performance.now() - start) });
  }
  if (tap !== undefined) addon.close(tap);
}
