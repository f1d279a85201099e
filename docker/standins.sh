#!/usr/bin/env bash
# Makes the images that the Dockerfiles start from, out of Debian packages and this
# machine's Go, for "make test-docker": nothing is pulled from a registry. An image
# that is here already is used as it is. Prints the names of those that it made.
set -euo pipefail
cd "$(dirname "$0")"

arg() { sed -n "s/^ARG $1=//p" Dockerfile.receiver; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# import NAME INSTRUCTION...: the folder "root" becomes an image.
import() {
	local name=$1 changes=()
	shift
	for change; do changes+=(--change "$change"); done
	tar -C "$work/root" --owner=0 --group=0 --numeric-owner -c . | docker import "${changes[@]}" - "$name" >/dev/null
	rm -rf "$work/root"
	echo "$name"
}
absent() { ! docker image inspect "$1" >/dev/null 2>&1; }

# put PROGRAM PATH: a program, with the libraries that it needs, at a path of the image.
put() {
	mkdir -p "$work/root${2%/*}"
	cp -L "$1" "$work/root$2"
	{ ldd "$1" 2>/dev/null || true; } | { grep -o '/[^ ]*' || true; } | while read -r library; do
		mkdir -p "$work/root${library%/*}"
		cp -L "$library" "$work/root$library"
	done
}

# userland: a shell and mkdir, and a directory for temporary files.
userland() {
	mkdir -p "$work/root/bin" "$work/root/tmp"
	chmod 1777 "$work/root/tmp"
	put "$(command -v busybox)" /bin/busybox
	ln -s busybox "$work/root/bin/sh"
	ln -s busybox "$work/root/bin/mkdir"
}

# golang: the real one has a Debian around it, with git and a C compiler. Modules are
# fetched as on this machine.
name=golang:$(arg GO_VERSION)-bookworm
if absent "$name"; then
	userland
	mkdir -p "$work/root/usr/local" "$work/root/go" "$work/root/etc/ssl/certs"
	cp -L /etc/ssl/certs/ca-certificates.crt "$work/root/etc/ssl/certs/"
	cp -a "$(go env GOROOT)" "$work/root/usr/local/go"
	rm -rf "$work/root/usr/local/go/"{api,doc,test,misc}
	import "$name" 'ENV PATH=/usr/local/go/bin:/bin' 'ENV GOPATH=/go' 'ENV GOTOOLCHAIN=local' \
		"ENV GOPROXY=$(go env GOPROXY)" "ENV GOSUMDB=$(go env GOSUMDB)"
fi

# static-debian12:nonroot: certificates and time zones are in the real one too.
name=$(sed -n 's/^FROM \(gcr[^ ]*\) .*/\1/p' Dockerfile.receiver)
if absent "$name"; then
	mkdir -p "$work/root/tmp" "$work/root/etc"
	chmod 1777 "$work/root/tmp"
	echo 'nonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin' >"$work/root/etc/passwd"
	import "$name" 'USER 65532' 'ENV PATH=/usr/bin:/bin'
fi

# VictoriaMetrics: the real one is newer, on Alpine.
name=$(arg VICTORIAMETRICS)
if absent "$name"; then
	put "$(command -v victoria-metrics)" /victoria-metrics-prod
	import "$name" 'ENTRYPOINT ["/victoria-metrics-prod"]' 'EXPOSE 8428'
fi
