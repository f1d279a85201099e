#!/usr/bin/env bash
# Runs the benchmarks: those of the packages, then, where there is a folder bench,
# the measurements of whole programs in it (build tag bench).
set -euo pipefail
cd "$(dirname "$0")/.."
packages=$(scripts/find-tests.sh Benchmark | cut -d ' ' -f 1 | sed '/^\.\/bench\(\/\|$\)/d' | uniq)
# shellcheck disable=SC2086 # one word for each package
[ -z "$packages" ] || go test -run '^$' -bench . -benchmem $packages
[ ! -d bench ] || go test -tags bench -count 1 -timeout 60m -v -bench . ./bench/...
