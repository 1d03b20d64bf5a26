#!/usr/bin/env bash
# folder.sh - whoever can open the folder of a store can take its lock: that is told wherever one is written to, with what to do,
# and after that it holds. A folder that is made for a store is closed from the start.
#
#   tests/ops/folder.sh [BUILD]
# shellcheck source=tests/lib.sh disable=SC2317
. "$(dirname "$0")/../lib.sh"
t_begin "$@"
t_needs flock
if [ "$(id -u)" -ne 0 ]; then
    skip folder "not root: there is nobody else"
    exit 0
fi
umask 000
chmod 755 "$WORK"
cd "$WORK" || exit 1
mkdir mnt && chmod 755 mnt
other() { setpriv --reuid=65534 --regid=65534 --groups=54322 "$@"; }
WARNING="warning: .*other users may open this folder, .*: chmod 0700 "
told() { # COMMAND...: how many lines of that kind it says; it succeeds
    timeout 60 "$@" >said 2>&1 </dev/null || echo "status $?"
    grep -c "$WARNING.*$FOLDER\$" said
}
mounted() {
    told "$ENGRAMFS" "$@" "$FOLDER" "$WORK/mnt" # its whole path: the daemon is waited for by it
    unmount_store "$WORK/mnt" || echo "not unmounted"
}
folder() { # NAME MODE
    FOLDER=$1
    mkdir "$1" && chmod "$2" "$1"
}

# ---- a folder that was there
folder open 755
check_equal "others can lock it, and that is told" "0 1" "$(other flock -n open true; echo $?) $(mounted)"
check_equal "with -o ro as well" 1 "$(mounted -o ro)"
check_equal "an import says so" 1 "$(told "$CTL" import - open)"
check_equal "reading does not" 0 "$(told "$CTL" stat open)"
folder $'e\033[31mvil' 755
timeout 60 "$ENGRAMFS" "$FOLDER" "$WORK/mnt" >said 2>&1 </dev/null
check_equal "its name steers no terminal" "1 0" "$(grep -c "$WARNING"'.*e?\[31mvil$' said) $(grep -c $'\033' said)"
check "unmount" unmount_store "$WORK/mnt"
FOLDER=open
chmod 0700 open
check_fails "then nobody else can" "Permission denied" other flock -n open true
check_equal "and nothing is said" "0 0" "$(mounted) $(told "$CTL" import - open)"
check_equal "for a group of others" 1 "$(chgrp 54322 open; chmod 750 open; mounted)"
check "which can lock it" other flock -n open true
chgrp "$(id -g)" open
check_equal "but not for one's own" 0 "$(mounted)"
check_fails "in which they are not" "Permission denied" other flock -n open true
mkdir -m 700 closed
folder closed/store 755
check_equal "nor below a closed folder" 0 "$(mounted)"
check_fails "where they cannot come" "Permission denied" other flock -n closed/store true

# ---- one that is made, whatever the umask
FOLDER=new
check_equal "a new store is closed" "0 700" "$(mounted) $(stat -c %a new)"
FOLDER=imported
check_equal "one of an import, too" "0 700" "$(told "$CTL" import - imported) $(stat -c %a imported)"

# ---- backups
must_mount new mnt
FOLDER=backup
check_equal "the folder of a new backup" "0 700" "$(told "$CTL" backup mnt backup) $(stat -c %a backup)"
folder shared 755
check_equal "one that was there, and is open" 1 "$(told "$CTL" backup mnt shared)"
check "unmount" unmount_store "$WORK/mnt"
t_end
