package page

import "strings"

// advice says what a person in front of the device should do, by the code of a
// reason. docs/health-monitoring.md has the long form.
var advice = map[string]string{
	"all_collectors_failing": "Look at the collectors' errors below. All at once means that /proc or /sys cannot be read: check collection.procfs_path and sysfs_path.",
	"collectors_failing":     "Look at its error below. A sensor that cannot be mended can be switched off under collection.collectors.",
	"upload_stalled":         "Check the network and the server, then run “shipperd doctor”. Samples wait in the file until the budget is full.",
	"upload_overdue":         "Nothing, while the network is away: samples wait in the file. Else run “shipperd doctor”.",
	"upload_late":            "Nothing, while the network is away: samples wait in the file. Else run “shipperd doctor”.",
	"backlog_large":          "Nothing, after an outage: it is being sent. If it still grows, the line is too slow: raise collection.interval.",
	"backlog":                "Nothing, after an outage: it is being sent. If it still grows, the line is too slow: raise collection.interval.",
	"clock_skew":             "Let NTP set the clock (“timedatectl”).",
	"unproven":               "Give the credentials read access, or set remote.verify.url.",
	"server_thins":           "Nothing if the server is meant to do so.",
	"uploads_off":            "Nothing if it is meant to be so: samples stay in the file.",
	"ticks_not_stored":       "Make room on the disk, or see why the file cannot be written. What is sampled meanwhile is lost.",
	"delivery_waits":         "Make room on the disk, or see why the file cannot be written. Nothing is lost by it.",
	"database_unreadable":    "Run “shipperd doctor”: it looks at the folder, the file and its owner.",
	"database_damaged":       "Look at the disk or card. When nobody needs the file that was set aside, remove it.",
	"shipperd_away":          "Start it: “systemctl start belabox-shipperd”.",
	"collectord_away":        "Start it: “systemctl start belabox-collectord”.",
	"clock_unchecked":        "Set monitoring.clock_skew_url, if the clock should be watched.",
	"clock_unknown":          "See shipperd's log for why the clock could not be compared.",
	"dead_letters":           "“shipperd deadletter list” shows each of them; “retry” sends them again.",
}

// adviceFor is advice for codes that are known, and something for the others.
func adviceFor(code string) string {
	if text, known := advice[code]; known {
		return text
	}
	return "See docs/health-monitoring.md for “" + strings.ToValidUTF8(code, "") + "”."
}
