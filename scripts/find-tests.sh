#!/usr/bin/env bash
# Prints "./package Function" for every test function of a kind in the checkout:
# find-tests.sh Fuzz, find-tests.sh Benchmark.
set -euo pipefail
cd "$(dirname "$0")/.."
find . \( -path ./.git -o -path ./run -o -name testdata \) -prune -o -name '*_test.go' -print0 |
	{ xargs -0 grep -HEo "^func $1[A-Z_][A-Za-z0-9_]*\(" || true; } | # grep's 1: none here
	sed -E 's,/[^/]*_test\.go:func , ,; s,\($,,' | sort -u
