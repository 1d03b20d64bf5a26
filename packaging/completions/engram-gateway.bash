# bash completion for engram-gateway. The options it reads from --help, so that it cannot go stale.

_engram_gateway() {
    local cur=${COMP_WORDS[COMP_CWORD]}
    COMPREPLY=()
    if [[ $cur = -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$("${COMP_WORDS[0]}" --help 2>/dev/null | grep -oE -- '--[a-z][a-z-]*' | sort -u)" -- "$cur")
        return
    fi
    compopt -o filenames
    case ${COMP_WORDS[COMP_CWORD - 1]} in
    --token-file) mapfile -t COMPREPLY < <(compgen -f -- "$cur") ;;
    --user) mapfile -t COMPREPLY < <(compgen -u -- "$cur") ;;
    *) mapfile -t COMPREPLY < <(compgen -d -- "$cur") ;;
    esac
}
complete -F _engram_gateway engram-gateway
