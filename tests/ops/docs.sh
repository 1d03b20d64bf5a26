#!/usr/bin/env bash
# docs.sh - the commands of the documentation: tests/docs_run.sh, as one of this group.
exec "$(dirname "$0")/../docs_run.sh" "$@"
