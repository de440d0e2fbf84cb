import { completionScript } from '../completion.js';
import { oneOf } from '../flags.js';
import { defineVerb, type Verb } from '../verb.js';

const SHELLS = ['bash'] as const;

/** @param aliases what other tools call a verb */
export const completion = (loadVerbs: () => Promise<Verb[]>, aliases: Readonly<Record<string, string>>): Verb =>
  defineVerb({
    name: 'completion',
    summary: 'Print a script that lets bash complete verbs, flags, their words and names of overlays',
    args: [{ name: SHELLS.join('|'), help: 'the shell', check: (text) => void oneOf(...SHELLS)(text, 'completion') }],
    flags: {},
    examples: [
      ['source <(overns completion bash)', 'in this shell'],
      ['overns completion bash > /etc/bash_completion.d/overns', 'for everybody, where bash-completion is installed'],
    ],
    streams: false,
    async run({ args: [shell] }, { out, json }) {
      const script = completionScript(await loadVerbs(), aliases);
      await (json ? out.json({ shell, script }) : out.lines([script]));
      return undefined;
    },
  });
