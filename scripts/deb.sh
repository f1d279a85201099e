#!/usr/bin/env bash
# Makes the Debian package of one target from what "make deb" built into dist/bin-TARGET:
# deb.sh linux-arm7 1.2.3 dist. The same commit gives the same bytes.
set -euo pipefail
umask 022 # the modes of the files are part of the package
cd "$(dirname "$0")/.."
target=$1 version=$2 dist=$3

case $target in
linux-amd64) ARCH=amd64 ;;
linux-arm64) ARCH=arm64 ;;
linux-arm7) ARCH=arm7 ;; # nfpm's word for armhf
*)
	echo "deb.sh: no Debian architecture for $target" >&2
	exit 1
	;;
esac

# Debian sorts "~" before the end and "+" behind it: 1.2.3~dev, 1.2.3, 1.2.3+4.g0abc.
DEB_VERSION=$(sed -E 's/-([0-9]+)-g/+\1.g/; s/-dirty$/+dirty/; s/-/~/g' <<<"$version")
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || date +%s)}
# Whoever hands packages to others names themselves, as with Debian's own tools. Without that nobody can be written to,
# and the name says so.
MAINTAINER="${DEBFULLNAME:-belabox-metrics local build} <${DEBEMAIL:-nobody@belabox-metrics.example}>"
STAGE=$dist/stage-$target
export ARCH DEB_VERSION MAINTAINER STAGE SOURCE_DATE_EPOCH

rm -rf "$STAGE"
make -s install-files BIN="$dist/bin-$target" DESTDIR="$STAGE"
doc=$STAGE/usr/share/doc/belabox-metrics
gzip -9n <CHANGELOG.md >"$doc/changelog.gz"
gzip -9n >"$doc/changelog.Debian.gz" <<END
belabox-metrics ($DEB_VERSION-1) stable; urgency=medium

  * Packaged from version $version; changelog.gz says what changed.

 -- $MAINTAINER  $(LC_ALL=C date -u -R -d "@$SOURCE_DATE_EPOCH")
END
scripts/licenses.sh "$target" | gzip -9n >"$doc/licenses.gz"
install -m 644 systemd/deb/copyright "$doc/copyright"
# What operations.md leads to.
install -m 644 docs/{alerts.yml,fleet.md,health-monitoring.md,metrics.md,page.md,security.md,victoriametrics-setup.md} "$doc/"
install -D -m 644 systemd/deb/lintian-overrides "$STAGE/usr/share/lintian/overrides/belabox-metrics"
go tool -modfile=shared/devtools/nfpm/go.mod nfpm package -f systemd/deb/nfpm.yaml -p deb -t "$dist/"
rm -rf "$STAGE" "$dist/bin-$target"
