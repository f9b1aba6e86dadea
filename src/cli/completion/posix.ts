/** Completion for bash and zsh: they read the words before the cursor by the same code. */
import { HEADER, kindOf, type Place, singleQuoted } from './places.js';

/** Sets `place` (a path), `values` (how many arguments came) and `pending` (what kind of value an option waits for). */
function reader(places: readonly Place[]): string {
  const branches = (of: (place: Place) => string[]) =>
    places
      .flatMap(of)
      .map((branch) => `      ${branch} ;;`)
      .join('\n');
  const valued = branches(({ path, valued }) =>
    valued.map(
      ({ names, expected }) =>
        `${names.map((name) => `'${path} ${name}'`).join('|')}) pending='${kindOf(expected)}'`,
    ),
  );
  const below = branches(({ path, below }) =>
    below.map((each) => `${each.names.map((name) => `'${path} ${name}'`).join('|')}) next='${each.path}'`),
  );
  return `  for word in "\${before[@]}"; do
    if [[ -n $pending ]]; then
      # bash takes --name=value apart.
      [[ $word == = ]] || pending=''
      continue
    fi
    if [[ -z $only && $word == -- ]]; then only=yes; continue; fi
    if [[ -z $only && $word == -* ]]; then
      case "$place $word" in
${valued}
      esac
      continue
    fi
    next=''
    if ((values == 0)); then
      case "$place $word" in
${below}
      esac
    fi
    if [[ -n $next ]]; then place=$next; else ((values += 1)); fi
  done`;
}

/** Sets `kind` to what is expected as an argument. */
function argumentsOf(places: readonly Place[]): string {
  const branches = places.flatMap(({ path, arguments: of }) =>
    of.map((expected, i) => `    '${path} ${i}') kind='${kindOf(expected)}' ;;`),
  );
  return `  case "$place $values" in\n${branches.join('\n')}\n  esac`;
}

export function bashScript(places: readonly Place[]): string {
  const words = (of: (place: Place) => readonly { readonly name: string }[]) =>
    places
      .flatMap((place) => {
        const names = of(place).map(({ name }) => name);
        return names.length > 0 ? `    '${place.path}') kind='${names.join(' ')}' ;;` : [];
      })
      .join('\n');
  return `# ${HEADER}
#   source <(raftree completion bash)
_raftree() {
  local current=\${COMP_WORDS[COMP_CWORD]} place='' values=0 pending='' only='' next='' kind='' word IFS=$'\\n'
  local before=("\${COMP_WORDS[@]:1:COMP_CWORD-1}")
${reader(places)}
  [[ $current == = ]] && current=''
  if [[ -n $pending ]]; then kind=$pending
  elif [[ -z $only && $current == -* ]]; then
    case $place in
${words(({ options }) => options)}
    esac
  elif ((values == 0)); then
    case $place in
${words(({ subcommands }) => subcommands)}
    esac
  fi
  if [[ -z $kind ]]; then
${indented(argumentsOf(places))}
  fi
  COMPREPLY=()
  case $kind in
    file|folder)
      compopt -o filenames 2>/dev/null
      if [[ $kind == file ]]; then COMPREPLY=($(compgen -f -- "$current"))
      else COMPREPLY=($(compgen -d -- "$current")); fi ;;
    ''|none) ;;
    *) COMPREPLY=($(compgen -W "\${kind// /$'\\n'}" -- "$current")) ;;
  esac
}
complete -F _raftree raftree
`;
}

export function zshScript(places: readonly Place[]): string {
  const told = (of: (place: Place) => readonly { readonly name: string; readonly about: string }[]) =>
    places
      .flatMap((place) => {
        const lines = of(place).map(({ name, about }) => singleQuoted(`${name}:${about}`));
        return lines.length > 0
          ? `    '${place.path}') told=(\n      ${lines.join('\n      ')}\n    ) ;;`
          : [];
      })
      .join('\n');
  return `#compdef raftree
# ${HEADER}
#   source <(raftree completion zsh)      after compinit
_raftree() {
  local current=$words[CURRENT] place='' values=0 pending='' only='' next='' kind='' word
  local -a before told
  before=("\${(@)words[2,CURRENT-1]}")
${reader(places)}
  if [[ -n $pending ]]; then kind=$pending
  elif [[ -z $only && $current == -* ]]; then
    case $place in
${told(({ options }) => options)}
    esac
    _describe -o option told
    return
  elif ((values == 0)); then
    case $place in
${told(({ subcommands }) => subcommands)}
    esac
    if (($#told)); then
      _describe command told
      return
    fi
  fi
  if [[ -z $kind ]]; then
${indented(argumentsOf(places))}
  fi
  case $kind in
    file) _files ;;
    folder) _files -/ ;;
    ''|none) ;;
    *) compadd -- \${=kind} ;;
  esac
}
# As a file in fpath, this is the body of the function at its first call.
if [[ $funcstack[1] == _raftree ]]; then _raftree "$@"; else compdef _raftree raftree; fi
`;
}

function indented(lines: string): string {
  return lines.replace(/^/gm, '  ');
}
