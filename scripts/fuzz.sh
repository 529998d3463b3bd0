#!/bin/bash
# Runs every fuzz target of the module for a while: fuzz.sh [TIME]
set -eu
cd "$(dirname "$0")/.."
time=${1:-20s}
go=${GO:-go}
grep -rl --include='*_test.go' '^func Fuzz' . | xargs -n1 dirname | sort -u | while read -r dir; do
	for target in $(cat "$dir"/*_test.go | sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\)(.*/\1/p'); do
		echo "fuzz: $dir $target"
		$go test -run '^$' -fuzz "^$target\$" -fuzzminimizetime 20x -fuzztime "$time" "$dir"
	done
done
