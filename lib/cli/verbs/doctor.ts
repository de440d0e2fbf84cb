import { type DoctorCheck, doctor } from '../../index.js';
import { inCommands } from '../commands.js';
import { DONE, REFUSED } from '../failure.js';
import { dockerFlag } from '../kinds.js';
import { table } from '../output.js';
import { defineVerb } from '../verb.js';

const WORDS: Readonly<Record<DoctorCheck['status'], string>> = { ok: 'ok', warn: 'warn', fail: 'FAIL', info: '-' };

export const verb = defineVerb({
  name: 'doctor',
  summary: 'Say what this machine can do for overlays and what it lacks, with the remedy',
  description: 'Exit status 1 if something that is needed is missing.',
  args: [],
  flags: { docker: dockerFlag },
  examples: [['overns doctor', 'before the first overlay, and when something does not work']],
  streams: false,
  async run({ flags: { docker } }, { signal, system, out, json }) {
    const examined = await doctor({ docker, signal, system });
    const checks = examined.checks.map((check) => ({
      ...check,
      ...(check.value !== undefined && { value: inCommands(check.value) }),
      ...(check.remedy !== undefined && { remedy: inCommands(check.remedy) }),
    }));
    const report = { ...examined, checks };
    if (json) await out.json(report);
    else {
      const [heading = '', ...rows] = table(
        ['', 'CHECK', 'VALUE'],
        report.checks.map(({ status, title, value }) => [WORDS[status], title, value]),
      );
      const lines = report.checks.flatMap(({ remedy }, index) => [
        rows[index] ?? '',
        ...(remedy === undefined ? [] : [`      -> ${remedy}`]),
      ]);
      const failures = report.checks.filter(({ status }) => status === 'fail').length;
      await out.lines([
        heading,
        ...lines,
        '',
        report.ok ? 'This machine can serve overlays.' : `${failures} of these must be fixed first.`,
      ]);
    }
    return report.ok ? DONE : REFUSED;
  },
});
