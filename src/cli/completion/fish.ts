/** Completion for fish. */
import { HEADER, kindOf, type Place, singleQuoted } from './places.js';

/** A text that fish takes as it is. */
function quoted(text: string): string {
  return singleQuoted(text.replaceAll('\\', '\\\\'), "\\'");
}

function cases(places: readonly Place[], of: (place: Place) => [key: string, line: string][]): string {
  return places
    .flatMap(of)
    .map(([key, line]) => `      case ${key}\n        ${line}`)
    .join('\n');
}

function told(
  place: Place,
  of: readonly { readonly name: string; readonly about: string }[],
): [string, string][] {
  const lines = of.map(({ name, about }) => quoted(`${name}\t${about}`)).join(' ');
  return of.length > 0 ? [[`'${place.path}'`, `printf '%s\\n' ${lines}`]] : [];
}

export function fishScript(places: readonly Place[]): string {
  return `# ${HEADER}
#   raftree completion fish | source
function __raftree_complete
  set -l current (commandline -ct)
  set -l place ''
  set -l values 0
  set -l pending ''
  set -l only ''
  set -l kind ''
  for word in (commandline -opc)[2..]
    if test -n "$pending"
      set pending ''
      continue
    end
    if test -z "$only" -a "$word" = --
      set only yes
      continue
    end
    if test -z "$only"; and string match -q -- '-*' "$word"
      switch "$place $word"
${cases(places, ({ path, valued }) =>
  valued.map(({ names, expected }) => [
    names.map((name) => `'${path} ${name}'`).join(' '),
    `set pending '${kindOf(expected)}'`,
  ]),
)}
      end
      continue
    end
    set -l next ''
    if test $values -eq 0
      switch "$place $word"
${cases(places, ({ path, below }) =>
  below.map((each) => [each.names.map((name) => `'${path} ${name}'`).join(' '), `set next '${each.path}'`]),
)}
      end
    end
    if test -n "$next"
      set place $next
    else
      set values (math $values + 1)
    end
  end
  if test -n "$pending"
    set kind $pending
  else if test -z "$only"; and string match -q -- '-*' "$current"
    switch "$place"
${cases(places, (place) => told(place, place.options))}
    end
    return
  else
    if test $values -eq 0
      switch "$place"
${cases(places, (place) => told(place, place.subcommands))}
      end
    end
    switch "$place $values"
${cases(places, ({ path, arguments: of }) => of.map((expected, i) => [`'${path} ${i}'`, `set kind '${kindOf(expected)}'`]))}
    end
  end
  switch "$kind"
    case file
      __fish_complete_path "$current"
    case folder
      __fish_complete_directories "$current"
    case '' none
    case '*'
      string split ' ' -- "$kind"
  end
end
complete -c raftree -f -a '(__raftree_complete)'
`;
}
