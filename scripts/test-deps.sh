#!/usr/bin/env bash
# Installs the programs that the tests start, where they are missing. With words
# behind it, also those of groups: "test-deps.sh systemd" for "make test-systemd".
#
# Nothing else installs anything, and this list is the only one. On a machine
# that has them all it does nothing. It leaves no service running: Debian starts
# a server's unit on installation and at every boot, which a test machine must not.
set -euo pipefail

# One a line: the program, the Debian package that brings it, and the group whose
# tests alone need it.
all='
victoria-metrics          victoria-metrics
prometheus-node-exporter  prometheus-node-exporter
systemd-analyze           systemd
groff                     groff-base
chromium                  chromium
qemu-x86_64               qemu-user
faketime                  faketime
ip                        iproute2
systemd-nspawn            systemd-container  systemd
debootstrap               debootstrap        systemd
lintian                   lintian            systemd
mkfs.ext4                 e2fsprogs          systemd
busybox                   busybox-static     docker
'
needed=$(while read -r program package group; do
	case "  $* " in *" $group "*) echo "$program $package" ;; esac
done <<<"$all")

export PATH="$PATH:${SBIN:-/usr/sbin:/sbin}"
policy=${POLICY_RC_D:-/usr/sbin/policy-rc.d} # asked by Debian before it starts a service

# Prints the programs (1) or packages (2) of the list that are missing.
missing() {
	while read -r program package; do
		if [ -n "$program" ] && ! command -v "$program" >/dev/null; then
			[ "$1" = 1 ] && echo "$program" || echo "$package"
		fi
	done <<<"$needed"
}

# Says in one sentence what a person must do, and ends.
give_up() {
	local programs packages verb=is
	programs=$(missing 1) packages=$(missing 2)
	[[ $programs != *$'\n'* ]] || verb=are
	printf "%s %s not on the PATH and could not be installed (%s): run 'apt-get install %s' as root, then 'make test' again\n" \
		"${programs//$'\n'/, }" "$verb" "$1" "${packages//$'\n'/ }" >&2
	exit 1
}

# Runs a command quietly, up to six times: the lists of apt may be held by another
# apt for a while. Shows what it said when it never worked.
patiently() {
	local try
	for try in 1 2 3 4 5 6; do
		if "$@" >"$log" 2>&1 </dev/null; then return 0; fi
		grep -q 'Could not get lock\|Unable to acquire\|Unable to lock' "$log" || break
		sleep 10
	done
	cat "$log" >&2
	return 1
}

packages=$(missing 2)
if [ -z "$packages" ]; then exit 0; fi

command -v apt-get >/dev/null || give_up 'this is no Debian'
if [ "$(id -u)" != 0 ]; then
	command -v sudo >/dev/null && sudo -n true 2>/dev/null || give_up 'it takes root'
	exec sudo -n -- bash "$0" "$@"
fi

log=$(mktemp)
guard=
tidy() { rm -f "$log" ${guard:+"$guard"}; }
trap tidy EXIT
trap 'exit 1' INT TERM HUP
if [ ! -e "$policy" ]; then
	guard=$policy
	printf '#!/bin/sh\n# Made by scripts/test-deps.sh of belabox-metrics for the time of one installation.\nexit 101\n' >"$policy"
	chmod 755 "$policy"
fi

echo "installing for the tests:" $packages
export DEBIAN_FRONTEND=noninteractive
patiently apt-get update || give_up 'apt-get update failed'
# shellcheck disable=SC2086 # one word for each package
patiently apt-get install -y --no-install-recommends -o DPkg::Lock::Timeout=120 $packages ||
	give_up 'apt-get install failed'

# Not at the next boot either. These units came with this installation just now. Those
# of systemd itself are what a system boots with.
if command -v systemctl >/dev/null; then
	# shellcheck disable=SC2046
	dpkg -L $(grep -vx systemd <<<"$packages") | sed -n 's,^\(/usr\)\?/lib/systemd/system/\([^/@]*\.\(service\|timer\|socket\)\)$,\2,p' |
		xargs -r -n 1 systemctl --quiet disable >/dev/null 2>&1 || true
fi
[ -z "$(missing 1)" ] || give_up 'the packages do not bring them'
