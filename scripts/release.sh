#!/usr/bin/env bash
# Builds a release into a folder: the Debian packages, SHA256SUMS and RELEASE-NOTES.md.
# release.sh 1.2.3 dist. Called by "make release".
#
# It refuses when the tree has uncommitted changes, when shared/buildinfo names another version,
# or when CHANGELOG.md has no section for the version. With TRIAL=1 it builds anyway, and takes
# the notes from the section "Unreleased" where the version has none.
set -euo pipefail
cd "$(dirname "$0")/.."
version=$1 dist=$2

refuse() {
	echo "release.sh: $1 (TRIAL=1 builds anyway)" >&2
	[ "${TRIAL-}" = 1 ] || exit 1
}

changes=$(git status --porcelain)
[ -z "$changes" ] || refuse "the tree has uncommitted changes: commit or stash them"
source_version=$(sed -n 's/.*Version = "\(.*\)"/\1/p' shared/buildinfo/buildinfo.go)
[ "$source_version" = "$version" ] ||
	refuse "shared/buildinfo says $source_version, the release is $version: change Version there"
if ! notes=$(scripts/release-notes.sh "$version"); then
	refuse "write the section of the version first"
	notes=$(scripts/release-notes.sh Unreleased)
fi

# Packages of earlier builds do not belong into SHA256SUMS.
mkdir -p "$dist"
rm -f "$dist"/*.deb "$dist/SHA256SUMS" "$dist/RELEASE-NOTES.md"
make deb VERSION="$version" DIST="$dist"

packages=("$dist"/belabox-metrics_*.deb)
[ ${#packages[@]} = 3 ] || {
	echo "release.sh: 3 packages expected in $dist, found ${#packages[@]}" >&2
	exit 1
}
printf '%s\n' "$notes" >"$dist/RELEASE-NOTES.md"
(cd "$dist" && sha256sum -- *.deb >SHA256SUMS)
cat "$dist/SHA256SUMS"
