/**
 * The library's hints in the words of the command line. A hint of the library names what a program writes, in backticks: an
 * option (`vtep`), a call (`Overlay.delete('blue')`). Here each is what a shell is given instead.
 */

/** Arguments and options of the library, and the words that stand for them. */
const WORDS: Readonly<Record<string, string>> = {
  name: 'NAME',
  container: 'CONTAINER',
  vni: '--vni',
  address: '--address',
  port: '--port',
  mtu: '--mtu',
  vtep: '--vtep',
  host: '--host',
  mac: '--mac',
  ifname: '--ifname',
  gateway: '--gateway',
  routes: '--route',
  anyAddress: '--any-address',
  anyMac: '--any-mac',
  ensure: '--ensure',
  store: '--store',
  url: '--store',
  docker: '--docker',
  takeover: '--takeover',
  OVERNS_NETNS_DIR: '--netns-dir',
};

const OF_OVERLAY = ' of overlay "(\\S+)"';
/** Calls, and the commands that do the same. */
const CALLS: readonly (readonly [call: RegExp, command: string])[] = [
  [/`Overlay\.create\(\)`/g, '`overns create`'],
  [/`Overlay\.ensure\(\{ name: '(\S+)' \}\)`/g, '`overns create $1 --ensure`'],
  [/`Overlay\.delete\('(\S+)'\)`/g, '`overns delete $1`'],
  [/`Overlay\.list\(\)`/g, '`overns show`'],
  [new RegExp(`\`endpoints\\(\\)\`${OF_OVERLAY}`, 'g'), '`overns show $1`'],
  [/`queryResolver\('(\S+)'\)`/g, '`overns show $1`'],
  [new RegExp(`\`detach\\(\\{ ip: '(\\S+)' \\}\\)\`${OF_OVERLAY}`, 'g'), '`overns detach $2 --address $1`'],
  [new RegExp(`\`detach\\(\\{ ip \\}\\)\`${OF_OVERLAY}`, 'g'), '`overns detach $1 --address IP`'],
  [/`\{ ip: '(\S+)' \}`/g, '`--address $1`'],
  [/`doctor\(\)`/g, '`overns doctor`'],
];

/** Whether what stands in backticks is of a program in JavaScript: an identifier, a call, an object. */
export function isCode(text: string): boolean {
  return /^(?:[A-Za-z_$][\w$]*(?:\.[\w$]+)*(?:\(.*\))?(?:\.\w+\(.*\))*|\{.*\}|\w+: .*)$/s.test(text);
}

/** A text of the library's in the words of the command line. */
export function inCommands(text: string): string {
  if (!text.includes('`')) return text;
  const commands = CALLS.reduce((replaced, [call, command]) => replaced.replace(call, command), text);
  return commands.replace(/`(\w+)`/g, (quoted, name: string) =>
    Object.hasOwn(WORDS, name) ? `${WORDS[name]}` : quoted,
  );
}

/** A hint in the words of the command line; undefined where only a program can do what it says. */
export function hintInCommands(hint: string | undefined): string | undefined {
  if (hint === undefined) return undefined;
  const commands = inCommands(hint);
  const left = [...commands.matchAll(/`([^`]+)`/g)].some(([, quoted = '']) => isCode(quoted));
  return left ? undefined : commands;
}

/** The message of a wrong argument, which begins with the argument's name: `routes[0].via: "x" is not ...`. */
export function argumentInCommands(message: string): string {
  return message.replace(/^(-*[\w-]+)(?:\[\d+\])?(?:\.\w+)*(?=: )/, (argument, name: string) =>
    name.startsWith('--') ? name : Object.hasOwn(WORDS, name) ? (WORDS[name] as string) : argument,
  );
}
