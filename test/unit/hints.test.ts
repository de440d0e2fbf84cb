/** The library's hints speak of the library, and the command line says them in its own words. */
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';
import { describe, expect, test } from 'vitest';
import { argumentInCommands, hintInCommands, inCommands, isCode } from '../../lib/cli/commands.js';
import { flagsOf } from '../../lib/cli/verb.js';
import { loadVerbs, verbNames } from '../../lib/cli/verbs/index.js';

const LIB = fileURLToPath(new URL('../../lib/', import.meta.url));

interface Text {
  readonly file: string;
  readonly text: string;
  /** It is what somebody is to do. */
  readonly hint: boolean;
}

/** Every text of the library; what is filled in is an `x`. */
const texts: Text[] = readdirSync(LIB, { recursive: true, encoding: 'utf8' })
  .filter((name) => name.endsWith('.ts') && !/^(cli|testing)\//.test(name))
  .flatMap((file) => {
    const source = ts.createSourceFile(file, readFileSync(LIB + file, 'utf8'), ts.ScriptTarget.Latest, true);
    const found: Text[] = [];
    const visit = (node: ts.Node, hint: boolean): void => {
      const named = (ts.isPropertyAssignment(node) || ts.isVariableDeclaration(node)) && node.name.getText();
      const within = hint || (typeof named === 'string' && /^(hint|remedy)$/.test(named));
      if (ts.isStringLiteralLike(node)) found.push({ file, text: node.text, hint: within });
      else if (ts.isTemplateExpression(node)) {
        const text = node.head.text + node.templateSpans.map(({ literal }) => `x${literal.text}`).join('');
        found.push({ file, text, hint: within });
      }
      ts.forEachChild(node, (child) => visit(child, within));
    };
    visit(source, file === 'system/remedies.ts');
    return found;
  });
const hints = texts.filter(({ hint }) => hint);

describe('the library', () => {
  test('its texts name no command and no flag', async () => {
    const flags = new Set((await loadVerbs()).flatMap((verb) => Object.keys(flagsOf(verb))));
    const command = new RegExp(`\\boverns (?:${verbNames.join('|')})\\b`);
    const speaksCommand = ({ text }: Text): boolean =>
      command.test(text) || [...text.matchAll(/(?<![\w-])--([a-z][a-z-]*)/g)].some(([, flag = '']) => flags.has(flag));
    expect(texts.length).toBeGreaterThan(2000);
    expect(texts.filter(speaksCommand)).toEqual([]);
  });

  test('its hints have what a program writes in backticks', () => {
    // Names of Node's and of overns' own; a call.
    const code = /\b[a-z]+(?:[A-Z][a-z]+)+\b|\w\(/;
    expect(hints.length).toBeGreaterThan(150);
    const bare = hints.filter(({ text }) => text.includes(' ') && code.test(text.replaceAll(/`[^`]*`/g, '')));
    expect(bare).toEqual([]);
  });
});

describe('the command line', () => {
  test('words of its own stand for arguments and options', async () => {
    const verbs = await loadVerbs();
    const flags = new Set(verbs.flatMap((verb) => Object.keys(flagsOf(verb)).map((flag) => `--${flag}`)));
    const shown = (option: string): string => inCommands(`\`${option}\``);
    const options = ['vni', 'port', 'vtep', 'host', 'ifname', 'gateway', 'routes', 'anyAddress', 'ensure', 'docker'];
    expect(options.map(shown).filter((word) => !flags.has(word))).toEqual([]);
  });

  test('what an overlay is told has a command each', () => {
    const calls = hints.filter(({ text }) => /`(?:Overlay\.(?!open)|detach|endpoints|queryResolver|doctor)/.test(text));
    expect(calls.length).toBeGreaterThan(8);
    for (const { text } of calls) expect(hintInCommands(text), text).toMatch(/`overns \w+/);
  });

  test('no hint of the library gets through in JavaScript', () => {
    for (const { text } of hints) {
      const quoted = [...(hintInCommands(text) ?? '').matchAll(/`([^`]+)`/g)].map(([, words = '']) => words);
      expect(quoted.filter(isCode), text).toEqual([]);
    }
  });

  test.each([
    ["`Overlay.ensure({ name: 'blue' })` completes it", '`overns create blue --ensure` completes it'],
    ['detach it: `detach({ ip: \'fd00::2\' })` of overlay "blue"', 'detach it: `overns detach blue --address fd00::2`'],
    ["say which by its address: `{ ip: '10.0.0.2' }`", 'say which by its address: `--address 10.0.0.2`'],
    ['`ip link` shows them, or choose another `ifname`', '`ip link` shows them, or choose another --ifname'],
    ['see what keeps it, or raise `lookupTimeoutMs`', undefined],
    ['`replace()` changes it', undefined],
  ])('%s', (hint, words) => {
    expect(hintInCommands(hint)).toBe(words);
  });

  test.each([
    ['routes.via: "x" is no', '--route: "x" is no'],
    ['address[1]: "x" is no', '--address: "x" is no'],
    ['--route[0].via: "x" is no', '--route: "x" is no'],
    ['name: "x" is no', 'NAME: "x" is no'],
    ['OVERNS_VNI: "x" is no', 'OVERNS_VNI: "x" is no'],
    ['records get: "x" is no', 'records get: "x" is no'],
  ])('%s', (message, words) => {
    expect(argumentInCommands(message)).toBe(words);
  });
});
