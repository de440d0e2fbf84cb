/** A completion script for bash, from the same tables that parse. */
import type { Flags } from './flags.js';
import { commonFlags, flagsOf, timeoutFlag, type Verb } from './verb.js';

const dashed = (names: readonly string[]): string => names.map((name) => `--${name}`).join(' ');
const allOf = (flags: Flags): string => dashed(Object.keys(flags));
const withValue = (flags: Flags): string => dashed(Object.keys(flags).filter((name) => flags[name]?.value !== ''));

/** Words that stand for themselves in a form such as `auto|N`: those that are not in capitals. */
function literals(form: string): string {
  const words = form.split('|').filter((word) => word !== '' && word === word.toLowerCase());
  return words.length === 0 ? '' : `_overns_words '${words.join(' ')}'`;
}

function completeValue(form: string): string {
  if (form === 'NETNS') return '_overns_namespaces';
  return form === 'DIR' ? '_overns_directories' : literals(form);
}

/** An overlay that is to be made has no name yet. */
function completePlace(verb: string, name: string): string {
  if (name === 'NAME') return verb === 'create' ? '' : '_overns_overlays';
  return name === 'CONTAINER' ? '_overns_containers' : literals(name);
}

function cases(rows: readonly (readonly [pattern: string, commands: string])[]): string {
  return rows
    .filter(([, commands]) => commands !== '')
    .map(([pattern, commands]) => `    ${pattern}) ${commands} ;;`)
    .join('\n');
}

/** `source <(overns completion bash)`. */
export function completionScript(verbs: readonly Verb[], aliases: Readonly<Record<string, string>>): string {
  const names = [...verbs.map(({ name }) => name), ...Object.keys(aliases), 'help', 'version'].join(' ');
  const flags = verbs.map(
    (verb) => [verb.name, `flags='${allOf(flagsOf(verb))}' valued='${withValue(flagsOf(verb))}'`] as const,
  );
  const values = [
    ...Object.entries({ ...commonFlags, ...timeoutFlag }).map(
      ([name, { value }]) => [`*' --${name}'`, completeValue(value)] as const,
    ),
    ...verbs.flatMap((verb) =>
      Object.entries(verb.flags).map(
        ([name, { value }]) => [`'${verb.name} --${name}'`, completeValue(value)] as const,
      ),
    ),
  ];
  const places = verbs.flatMap((verb) =>
    verb.args.map(({ name, many }, at) => {
      const place = many ? `'${verb.name} '*` : `'${verb.name} ${at}'`;
      return [place, completePlace(verb.name, name)] as const;
    }),
  );
  return `# Completion of overns for bash: source <(overns completion bash)

_overns_words() {
  COMPREPLY=($(compgen -W "$1" -- "$cur"))
}

# One by one: compgen would run what stands in a name.
_overns_namespaces() {
  local path name
  for path in "\${OVERNS_NETNS_DIR:-/run/netns}"/*; do
    name=\${path##*/}
    if [[ -e $path && $name == "$cur"* ]]; then COMPREPLY+=("$(printf %q "$name")"); fi
  done
}

# Those that are overlays, as far as this user may see.
_overns_overlays() {
  local shown name
  if shown=$(timeout 3 "\${COMP_WORDS[0]}" show 2>/dev/null); then
    while read -r name _ && [[ -n $name ]]; do
      if [[ $name != OVERLAY && $name == "$cur"* ]]; then COMPREPLY+=("$(printf %q "$name")"); fi
    done <<<"\${shown#no overlays}"
  else
    _overns_namespaces
  fi
}

# Docker's, and named namespaces.
_overns_containers() {
  local name
  while read -r name; do
    if [[ -n $name && $name == "$cur"* ]]; then COMPREPLY+=("$name"); fi
  done < <(timeout 3 docker ps --format '{{.Names}}' 2>/dev/null)
  _overns_namespaces
}

_overns_directories() {
  local IFS=$'\\n'
  compopt -o filenames 2>/dev/null || true
  COMPREPLY=($(compgen -d -- "$cur"))
}

_overns() {
  local cur=\${COMP_WORDS[COMP_CWORD]} prev=\${COMP_WORDS[COMP_CWORD - 1]}
  local verb='' place=0 flags='${allOf(commonFlags)} --version' valued='${withValue(commonFlags)}' at word
  COMPREPLY=()
  # --flag=value is three words.
  if [[ $cur == '=' ]]; then
    cur=''
  elif [[ $prev == '=' ]]; then
    prev=\${COMP_WORDS[COMP_CWORD - 2]}
  fi
  for ((at = 1; at < COMP_CWORD; at++)); do
    word=\${COMP_WORDS[at]}
    if [[ " $valued " == *" $word "* ]]; then
      if [[ \${COMP_WORDS[at + 1]:-} == '=' ]]; then at=$((at + 1)); fi
      at=$((at + 1))
    elif [[ $word == -* ]]; then
      continue
    elif [[ -n $verb ]]; then
      place=$((place + 1))
    else
      verb=$word
      case $verb in
${cases(Object.entries(aliases).map(([alias, name]) => [alias, `verb=${name}`])).replaceAll(/^ {4}/gm, '        ')}
      esac
      case $verb in
${cases(flags).replaceAll(/^ {4}/gm, '        ')}
      esac
    fi
  done
  if [[ " $valued " == *" $prev "* ]]; then
    case "$verb $prev" in
${cases(values).replaceAll(/^ {4}/gm, '      ')}
    esac
    return
  fi
  if [[ $cur != -* ]]; then
    case "$verb $place" in
      ' 0' | 'help 0') _overns_words '${names}' ;;
${cases(places).replaceAll(/^ {4}/gm, '      ')}
    esac
  fi
  if [[ \${#COMPREPLY[@]} == 0 && ($cur == -* || $cur == '') ]]; then _overns_words "$flags"; fi
}

complete -F _overns overns`;
}
