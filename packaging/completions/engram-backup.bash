# bash completion for engram-backup.

_engram_backup() {
    local cur=${COMP_WORDS[COMP_CWORD]}
    compopt -o filenames
    mapfile -t COMPREPLY < <(compgen -d -- "$cur")
}
complete -F _engram_backup engram-backup
