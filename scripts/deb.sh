#!/usr/bin/env bash
# Makes the Debian package of one target from what "make deb" built into dist/bin-TARGET:
# deb.sh linux-arm7 1.2.3 dist. The same commit gives the same bytes.
set -euo pipefail
umask 022 # the modes of the files are part of the package
cd "$(dirname "$0")/.."
command -v dpkg-deb >/dev/null || { echo "deb.sh: dpkg-deb is not on the PATH: install Debian's package dpkg" >&2; exit 1; }
target=$1 version=$2 dist=$3

case $target in
linux-amd64) ARCH=amd64 ;;
linux-arm64) ARCH=arm64 ;;
linux-arm7) ARCH=armhf ;;
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
# dpkg-deb takes the times from it; several threads would make other bytes.
export SOURCE_DATE_EPOCH DPKG_DEB_THREADS_MAX=1

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
install -m 644 docs/{alerts.yml,fleet.md,health-monitoring.md,metrics.md,page.md,security.md,textfile.md,time.md,victoriametrics-setup.md} "$doc/"
install -D -m 644 systemd/deb/lintian-overrides "$STAGE/usr/share/lintian/overrides/belabox-metrics"
install -D -m 644 systemd/config.yaml "$STAGE/etc/belabox-metrics/config.yaml"

control=$STAGE/DEBIAN
install -d "$control"
size=$(($(find "$STAGE/usr" "$STAGE/etc" -type f -printf '%s\n' | paste -sd+)))
(cd "$STAGE" && find etc usr -type f -print0 | LC_ALL=C sort -z | xargs -0 md5sum) >"$control/md5sums"
sed -e "s/@VERSION@/$DEB_VERSION-1/; s/@ARCH@/$ARCH/; s/@SIZE@/$(((size + 1023) / 1024))/" \
	-e "s|@MAINTAINER@|${MAINTAINER//&/\\&}|" systemd/deb/control >"$control/control"
echo /etc/belabox-metrics/config.yaml >"$control/conffiles"
install -m 755 systemd/deb/{preinst,postinst,prerm,postrm} "$control/"
# Folders take a group, a set-group-ID bit and an access list from the one they are made in.
find "$STAGE" -type d -exec chmod 00755 {} +
find "$STAGE" -type f -perm /100 -exec chmod 755 {} +
find "$STAGE" -type f ! -perm /100 -exec chmod 644 {} +
find "$STAGE" -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +
dpkg-deb --root-owner-group -Zxz --build "$STAGE" "$dist/belabox-metrics_$DEB_VERSION-1_$ARCH.deb"
rm -rf "$STAGE" "$dist/bin-$target"
