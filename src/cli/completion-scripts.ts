// What makes a shell complete the words of daolictl: it asks `daolictl complete`, which knows the commands, and asks the agent
// for names. ":files" is answered where files are meant.

export const SHELLS = ['bash', 'zsh', 'fish'] as const;
export type Shell = (typeof SHELLS)[number];

const BASH = `# bash completion for daolictl. What bash takes for the end of a word (: and =) is none here.
_daolictl() {
  local line=\${COMP_LINE:0:COMP_POINT} words current before answer candidate
  read -ra words <<<"$line"
  [[ $line == *[[:space:]] ]] && words+=('')
  current=\${words[\${#words[@]} - 1]}
  before=\${current%"\${current##*[:=]}"}
  COMPREPLY=()
  mapfile -t answer < <(daolictl complete -- "\${words[@]:1}" 2>/dev/null)
  if [[ \${answer[0]-} == ':files' ]]; then
    compopt -o default
    return
  fi
  for candidate in "\${answer[@]}"; do
    [[ $candidate ]] || continue
    candidate=\${candidate%%$'\\t'*}
    COMPREPLY+=("\${candidate#"$before"}")
  done
}
complete -F _daolictl daolictl
`;

const ZSH = `#compdef daolictl
_daolictl() {
  local -a answer described
  local candidate
  answer=("\${(@f)$(daolictl complete -- "\${(@)words[2,CURRENT]}" 2>/dev/null)}")
  if [[ \${answer[1]} == ':files' ]]; then
    _files
    return
  fi
  for candidate in $answer; do
    described+=("\${\${candidate%%$'\\t'*}//:/\\\\:}:\${\${candidate#*$'\\t'}//:/\\\\:}")
  done
  _describe daolictl described
}
if [[ \${funcstack[1]} == _daolictl ]]; then
  _daolictl
else
  compdef _daolictl daolictl
fi
`;

const FISH = `# fish completion for daolictl
function __daolictl_complete
    set -l words (commandline -opc) (commandline -ct)
    set -l answer (daolictl complete -- $words[2..-1] 2>/dev/null)
    if test "$answer[1]" = ':files'
        __fish_complete_path (commandline -ct)
        return
    end
    test -n "$answer" && printf '%s\\n' $answer
end
complete -c daolictl -f -a '(__daolictl_complete)'
`;

export const COMPLETION_SCRIPTS: Readonly<Record<Shell, string>> = { bash: BASH, zsh: ZSH, fish: FISH };
