# bash completion for engramctl. What it offers it reads from --help, so that it cannot go stale.

_engramctl() {
    local cur=${COMP_WORDS[COMP_CWORD]} tool=${COMP_WORDS[0]} sub=${COMP_WORDS[1]-}
    COMPREPLY=()
    if [ "$COMP_CWORD" -eq 1 ]; then
        mapfile -t COMPREPLY < <(compgen -W "$("$tool" --help 2>/dev/null | sed -n 's/^  \([a-z]\{1,\}\)  .*/\1/p') --help" -- "$cur")
    elif [[ $cur = -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$("$tool" "$sub" --help 2>/dev/null | grep -oE -- '--[a-z][a-z-]*=?' | sort -u) --help" -- "$cur")
        [[ ${COMPREPLY[0]-} != *= ]] || compopt -o nospace
    elif [ "$sub" = snapshot ] && [ "$COMP_CWORD" -eq 2 ]; then
        mapfile -t COMPREPLY < <(compgen -W "$("$tool" snapshot --help 2>/dev/null | sed -n 's/^  \([a-z]\{1,\}\)  .*/\1/p')" -- "$cur")
    elif [ "$sub" = help ]; then
        mapfile -t COMPREPLY < <(compgen -W "$("$tool" --help 2>/dev/null | sed -n 's/^  \([a-z]\{1,\}\)  .*/\1/p')" -- "$cur")
    elif [ "${COMP_WORDS[COMP_CWORD - 1]}" = --format ]; then
        mapfile -t COMPREPLY < <(compgen -W "jsonl tree tar" -- "$cur")
    else
        compopt -o filenames
        mapfile -t COMPREPLY < <(compgen -f -- "$cur")
    fi
}
complete -F _engramctl engramctl
