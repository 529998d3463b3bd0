#!/bin/bash
# gofmt, vet, staticcheck and govulncheck. The last needs the database of
# vulnerabilities; where that cannot be reached it says so and goes on.
set -eu
cd "$(dirname "$0")/.."
go=${GO:-go}
unformatted=$(gofmt -l $(git ls-files '*.go' --cached --others --exclude-standard))
if [ -n "$unformatted" ]; then
	echo "lint: gofmt would change:"; echo "$unformatted"; exit 1
fi
$go vet ./...
$go tool staticcheck ./...
out=$(mktemp)
trap 'rm -f "$out"' EXIT
if $go tool govulncheck ./... >"$out" 2>&1; then
	echo "lint: clean"
elif grep -qE 'fetching vulnerabilities|dial tcp|no such host|connection refused|403|Forbidden|proxyconnect' "$out"; then
	echo "lint: clean, but NOT CHECKED for vulnerabilities: the database cannot be reached: $(tail -n 1 "$out")"
else
	cat "$out"; exit 1
fi
