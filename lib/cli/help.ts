/** Help texts, from the same tables that parse. */
import type { Flag, Flags } from './flags.js';
import { commonFlags, timeoutFlag, type Verb, variableOf } from './verb.js';

const WIDTH = 100;

function wrap(text: string, indent: number, hanging = indent): string {
  const lines: string[] = [];
  let line = '';
  let room = WIDTH - indent;
  for (const word of text.split(/\s+/)) {
    if (line !== '' && line.length + 1 + word.length > room) {
      lines.push(line);
      line = '';
      room = WIDTH - hanging;
    }
    line = line === '' ? word : `${line} ${word}`;
  }
  lines.push(line);
  return lines.join(`\n${' '.repeat(hanging)}`);
}

function rows(entries: readonly (readonly [string, string])[]): string {
  const widest = Math.min(28, Math.max(...entries.map(([left]) => left.length)));
  return entries
    .map(([left, right]) => {
      const column = widest + 4;
      const head = left.length > widest ? `  ${left}\n${' '.repeat(column)}` : `  ${left.padEnd(widest)}  `;
      return head + wrap(right, column);
    })
    .join('\n');
}

function form(name: string, flag: Flag): string {
  return flag.value === '' ? `--${name}` : `--${name} ${flag.value}`;
}

function flagRows(flags: Flags): string {
  return rows(
    Object.entries(flags).map(([name, flag]) => {
      const notes = [
        flag.required ? 'required' : '',
        flag.many ? 'repeatable' : '',
        name === 'help' ? '' : variableOf(name),
      ];
      const note = notes.filter((text) => text !== '').join(', ');
      return [form(name, flag), note === '' ? flag.help : `${flag.help} (${note})`] as const;
    }),
  );
}

/** `overns create NAME --vni N [--address CIDR]...` */
function synopsis(verb: Verb): string {
  const args = verb.args.map(({ name, optional, many }) => {
    const text = many ? `${name}...` : name;
    return optional ? `[${text}]` : text;
  });
  const flags = Object.entries(verb.flags).map(([name, flag]) => {
    const text = form(name, flag);
    return `${flag.required ? text : `[${text}]`}${flag.many ? '...' : ''}`;
  });
  const head = `overns ${verb.name}`;
  return wrap(
    [head.replace(' ', '\u00a0'), ...[...args, ...flags].map((part) => part.replaceAll(' ', '\u00a0'))].join(' '),
    7,
    9,
  ).replaceAll('\u00a0', ' ');
}

export function verbHelp(verb: Verb): string {
  const parts = [`Usage: ${synopsis(verb)}`, wrap(`${verb.summary}.`, 0)];
  if (verb.description !== undefined)
    parts.push(...verb.description.split('\n\n').map((paragraph) => wrap(paragraph, 0)));
  if (verb.args.length > 0) parts.push(`Arguments:\n${rows(verb.args.map(({ name, help }) => [name, help] as const))}`);
  if (Object.keys(verb.flags).length > 0) parts.push(`Flags:\n${flagRows(verb.flags)}`);
  parts.push(`Flags of every verb:\n${flagRows({ ...(verb.streams ? {} : timeoutFlag), ...commonFlags })}`);
  if (verb.examples.length > 0) {
    parts.push(
      `Examples:\n${verb.examples.map(([command, what]) => `  ${wrap(`# ${what}`, 2)}\n  ${command}`).join('\n')}`,
    );
  }
  return parts.join('\n\n');
}

export function generalHelp(verbs: readonly Verb[], version: string): string {
  return [
    `overns ${version}: VXLAN overlay networks for containers, resolved on demand`,
    'Usage: overns VERB [ARGUMENT...] [--FLAG...]',
    `Verbs:\n${rows(verbs.map((verb) => [verb.name, verb.summary] as const))}`,
    `Flags of every verb:\n${flagRows(commonFlags)}`,
    wrap(
      'Every flag can be set by the environment variable named beside it; the command line comes first. Exit status: 0 done, ' +
        '2 the arguments are wrong, 1 the machine or the store refused.',
      0,
    ),
    wrap(
      '`overns VERB --help` and `overns help VERB` tell more of one verb, `overns doctor` what this machine can do; ' +
        '`overns version` the version. `ls` stands for `show`, `rm` for `delete`.',
      0,
    ),
  ].join('\n\n');
}
