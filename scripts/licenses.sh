#!/usr/bin/env bash
# Prints the licences of everything that is linked into the daemons for one target:
# licenses.sh linux-arm64. Those licences want their text to come with the binaries.
set -euo pipefail
cd "$(dirname "$0")/.."
GOOS=${1%-*} GOARCH=${1#*-}
export GOOS GOARCH=${GOARCH/arm7/arm} CGO_ENABLED=0

{
	echo "go $(go env GOVERSION) $(go env GOROOT)"
	go list -deps -f '{{with .Module}}{{if not .Main}}{{.Path}} {{.Version}} {{.Dir}}{{end}}{{end}}' \
		./collectord ./shipperd | sort -u
} | while read -r module version dir; do
	if [ -z "$module" ]; then continue; fi
	printf '==== %s %s\n\n' "$module" "$version"
	cat "$dir"/*LICENSE*
	echo
done
