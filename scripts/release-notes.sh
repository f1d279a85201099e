#!/usr/bin/env bash
# Prints the section of one version from CHANGELOG.md without its heading: release-notes.sh 1.2.3.
# Exits with 1 if there is no such section or if it is empty.
set -euo pipefail
cd "$(dirname "$0")/.."
version=$1

notes=$(awk -v version="$version" '
	/^## / { found = $2 == version; next }
	found
' CHANGELOG.md)
if [[ $notes != *[![:space:]]* ]]; then
	echo "release-notes.sh: CHANGELOG.md has no section \"## $version\", or it is empty" >&2
	exit 1
fi
sed '/./,$!d' <<<"$notes" # without empty lines at the start
