# bash completion for engramfs.

_engramfs() {
    local cur=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} list
    COMPREPLY=()
    if [ "$before" = -o ]; then
        # options of the mount, separated by commas: the last one is completed
        list=$("${COMP_WORDS[0]}" -h 2>/dev/null | sed -n 's/^ *-o \([a-z_]*=\{0,1\}\).*/\1/p')
        mapfile -t COMPREPLY < <(compgen -W "$list" -P "${cur%"${cur##*,}"}" -- "${cur##*,}")
        compopt -o nospace
    elif [[ $cur = -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "-f -d -s -o -h -V" -- "$cur")
    else
        compopt -o filenames
        mapfile -t COMPREPLY < <(compgen -d -- "$cur")
    fi
}
complete -F _engramfs engramfs
