#!/bin/bash
# Runs go test -v and shows a line for each package, failure and skipped test with
# its reason; the whole output follows where something failed.
set -u
log=$(mktemp)
trap 'rm -f "$log"' EXIT
echo "go test $*"
${GO:-go} test -v "$@" >"$log" 2>&1 &
pid=$!
tail -n +1 -f --pid=$pid "$log" | awk '
	/^(ok|FAIL|--- FAIL|panic)/ { print; fflush() }
	/^=== / { test = $3 }
	/^ +[A-Za-z_0-9]+\.go:[0-9]+: / { said[test] = $0; sub(/^ +/, "", said[test]) } # the last one is why it skips
	/^ *--- SKIP/ { print $0 ": " said[$3]; fflush() }
	/^ +[a-z_0-9]+_test.go:[0-9]+: table:/ { print; fflush() }
	/^\?/ { print; fflush() }'
wait $pid
code=$?
if [ $code != 0 ]; then
	echo "go test failed; its whole output:"
	cat "$log"
fi
exit $code
