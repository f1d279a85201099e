#!/usr/bin/env bash
# Runs every fuzz test of the checkout for a while: fuzz.sh 20s. What a fuzz test
# finds it leaves in testdata/fuzz of its package, to be committed with the repair.
set -euo pipefail
cd "$(dirname "$0")/.."
targets=$(scripts/find-tests.sh Fuzz)
failed=0
while read -r package function; do
	echo "== $package $function"
	go test -run '^$' -fuzz "^$function\$" -fuzztime "$1" "$package" </dev/null || failed=1
done <<<"$targets"
exit "$failed"
