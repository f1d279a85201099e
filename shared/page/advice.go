package page

import "strings"

// advice says what a person in front of the device should do, by the code of a
// reason. docs/health-monitoring.md has the long form.
var advice = map[string]string{
	"all_collectors_failing": "Look at the collectors' errors below. All at once means that /proc or /sys cannot be read: check collection.procfs_path and sysfs_path.",
	"collectors_failing":     "Look at its error below. A sensor that cannot be mended can be switched off under collection.collectors.",
	"interface_gone":         "Nothing, if it was meant to go. Else it was renamed, unplugged, or its modem is off. Under another name it has new series: change charts and alerts, or give it the old name back.",
	"upload_stalled":         "Check the network and the server, then run “belabox-shipperd doctor”. Samples wait in the file until the budget is full.",
	"upload_overdue":         "Nothing, while the network is away: samples wait in the file. Else run “belabox-shipperd doctor”.",
	"upload_late":            "Nothing, while the network is away: samples wait in the file. Else run “belabox-shipperd doctor”.",
	"backlog_large":          "Nothing, after an outage: it is being sent. If it still grows, the line is too slow: raise collection.interval.",
	"backlog":                "Nothing, after an outage: it is being sent. If it still grows, the line is too slow: raise collection.interval.",
	"clock_skew":             "Let NTP set the clock (“timedatectl”). If this device's time is right, the clock that it is compared with is wrong (monitoring.clock_skew_url, without it the server's).",
	"unproven":               "Give the credentials read access, or set remote.verify.url.",
	"unread":                 "Run “belabox-shipperd doctor”: it asks the server the same. Nothing is lost, and nothing is proven either.",
	"not_kept":               "Is the oldest of them older than the server's -retentionPeriod? Then set remote.max_past below it, or let the server keep more. Else it has reached a limit. “belabox-shipperd doctor” compares them.",
	"server_thins":           "Nothing if the server is meant to do so.",
	"uploads_off":            "Nothing if it is meant to be so: samples stay in the file.",
	"ticks_not_stored":       "Make room on the disk, or see why the file cannot be written. What is sampled meanwhile is lost.",
	"delivery_waits":         "Make room on the disk, or see why the file cannot be written. Nothing is lost by it.",
	"database_unreadable":    "Run “belabox-shipperd doctor”: it looks at the folder, the file and its owner.",
	"database_damaged":       "Look at the disk or card. When nobody needs the file that was set aside, remove it.",
	"wal_large":              "Find the program that has the database open in a transaction (“fuser -v” on it), and end it.",
	"shipperd_away":          "Start it: “systemctl start belabox-shipperd”.",
	"collectord_away":        "Start it: “systemctl start belabox-collectord”.",
	"clock_unchecked":        "Set monitoring.clock_skew_url, if the clock should be watched.",
	"clock_unknown":          "See the log of shipperd (“journalctl -u belabox-shipperd”) for why the clock could not be compared.",
	"dead_letters":           "“belabox-shipperd deadletter list” shows each with its reason; “belabox-shipperd deadletter retry all” sends them again, once the cause is mended.",
}

// uploadAdvice is what to do where the last error of an upload, by what is in its text, says more than that there was
// none. These do not heal by waiting.
var uploadAdvice = []struct{ in, text string }{
	{"the server answered 401", newToken},
	{"the server answered 403", newToken},
	{"the server answered 404", "Check the path of remote.url. Samples wait in the file."},
	{"unsupported path", "Check the path of remote.url. Samples wait in the file."},
	{"x509:", "Check the device's clock, then remote.tls and the server's certificate. Samples wait in the file."},
	{"disk full", "Make room on the disk: what is under way is written down before it is sent."},
}

const newToken = "The server does not take the token or password of this device, or no longer. Put a valid one into the file " +
	"that the section remote of the configuration names: it is read again by itself. Samples wait in the file."

// askShipperd is for collectord, which knows that there is no upload and not why.
const askShipperd = "See the page or the log of shipperd for why. While the network is away there is nothing to do: samples wait in the file."

// adviceOn is advice on a reason, with what else is known.
func (s *status) adviceOn(code string) string {
	switch {
	case code == "dead_letters" && len(s.Delivery.DeadLetters) == 1 && s.Delivery.DeadLetters["not_stored"] > 0:
		return "The server accepted them, and never had them. " + advice["not_kept"] + " Then “belabox-shipperd deadletter retry all”."
	case !strings.HasPrefix(code, "upload_"):
		return adviceFor(code)
	}
	if s.Delivery.LastError == "" && s.Daemon.Name == "collectord" {
		return askShipperd
	}
	for _, a := range uploadAdvice {
		if strings.Contains(s.Delivery.LastError, a.in) {
			return a.text
		}
	}
	return adviceFor(code)
}

// adviceFor is advice for codes that are known, and something for the others.
func adviceFor(code string) string {
	if text, known := advice[code]; known {
		return text
	}
	return "See docs/health-monitoring.md for “" + strings.ToValidUTF8(code, "") + "”."
}
