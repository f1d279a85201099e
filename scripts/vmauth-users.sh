#!/usr/bin/env bash
# Writes the users of vmauth from a list of devices: what a device writes gets its own
# device_id, and it reads only that.
#
#   vmauth-users.sh LIST CONFIG INSERTS [SELECTS TENANT]
#
# LIST has one device a line, "id" or "id token". A line without a token gets a random
# one, in the list itself. Two lines with the same id are two valid tokens of the device.
# INSERTS and SELECTS are the addresses of vminserts and vmselects, separated by commas;
# without SELECTS and TENANT those of single nodes. CONFIG is what vmauth reads with
# -auth.config; SIGHUP makes it read again. Both files have mode 0600.
set -euo pipefail
umask 077

if [ $# != 3 ] && [ $# != 5 ]; then
	sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0" >&2
	exit 2
fi
list=$1 config=$2 inserts=$3 selects=${4-$3}
write=/api/v1/import reads='/api/v1/(export|query)'
if [ $# = 5 ]; then
	[[ $5 =~ ^[0-9]+(:[0-9]+)?$ ]] || { echo "tenant \"$5\" is not accountID or accountID:projectID" >&2; exit 2; }
	write=/insert/$5/prometheus$write reads=/select/$5/prometheus$reads
fi

trap 'rm -f "$list.new" "$config.new"' EXIT
# The program ends with an error at the first line that it cannot use; then neither
# file changes. 16 random bytes are a token.
awk -v random='od -An -v -tx1 /dev/urandom' '
	function refuse(why) { printf "%s:%d: %s\n", FILENAME, NR, why > "/dev/stderr"; bad = 1; exit }
	NF == 0 || /^#/ { print; next }
	NF > 2 { refuse("more than an id and a token") }
	$1 !~ /^[A-Za-z0-9_.:-]+$/ || length($1) > 128 { refuse("the id is not 1 to 128 letters, digits and _ . : -") }
	NF == 1 { random | getline token; gsub(" ", "", token); $2 = token }
	$2 !~ /^[A-Za-z0-9_.~+\/=-]+$/ || length($2) < 16 { refuse("the token is not 16 or more letters, digits and _ . ~ + / = -") }
	$2 in owner { refuse("the token is also that of line " owner[$2]) }
	{ owner[$2] = NR; print $1, $2; devices++ }
	END { if (!bad && !devices) refuse("no device is in the list"); exit bad }
' "$list" >"$list.new"

# The second token of a device has a name of its own, so that the metrics of vmauth
# show whether the first is still used.
awk -v write="$write" -v reads="$reads" -v inserts="$inserts" -v selects="$selects" '
	function backends(addresses, query,   all, i, n) {
		n = split(addresses, all, ",")
		for (i = 1; i <= n; i++) printf "    - %c%s/?%s%c\n", 39, all[i], query, 39
	}
	BEGIN { print "users:" }
	NF == 2 && !/^#/ {
		nth = ++count[$1]
		printf "- name: \"%s%s\"\n  bearer_token: \"%s\"\n  url_map:\n", $1, (nth > 1 ? "/" nth : ""), $2
		printf "  - src_paths: [\"%s\"]\n    url_prefix:\n", write
		backends(inserts, "extra_label=device_id=" $1)
		printf "  - src_paths: [\"%s\"]\n    url_prefix:\n", reads
		backends(selects, "extra_filters[]={device_id=\"" $1 "\"}")
	}
' "$list.new" >"$config.new"
mv "$list.new" "$list"
mv "$config.new" "$config"
