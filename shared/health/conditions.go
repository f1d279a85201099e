package health

import (
	"fmt"
	"strings"
	"time"

	"belabox-metrics/shared/human"
)

// Condition is one row of the table: something about a daemon that an operator has to know.
// /health, the status page, `shipperd status`, `shipperd doctor` and docs/health-monitoring.md are
// made from it.
type Condition struct {
	Component string
	Code      string // for machines; never changes its meaning
	Severity  Status // OK: a note, which changes no status
	Daemon    string // that reports it: "collectord", "shipperd" or "both"
	When      string // it holds, for the docs: a phrase with the default thresholds
	Message   string // a format for Active
	Remedy    string // what to do, in sentences; commands and configuration keys in backticks

	// rule detects the condition from the facts. nil: the daemon detects it and adds it to its
	// Input.
	rule rule
}

// rule returns the arguments of the message, nil if the condition does not hold, and when the cause
// began, zero if that is not known.
type rule func(f facts) (args []any, since time.Time)

// Active is a condition that holds.
type Active struct {
	Component string    `json:"component"`
	Code      string    `json:"code"`
	Severity  Status    `json:"severity"`
	Message   string    `json:"message"`
	Remedy    string    `json:"remedy"`
	Since     time.Time `json:"since,omitzero"` // when the cause began
}

// Active returns the condition as it holds now. With a zero since the Monitor sets the time.
func (c *Condition) Active(since time.Time, args ...any) Active {
	// Joined errors have one line each; a message is one line.
	message := human.Printable(strings.ReplaceAll(fmt.Sprintf(c.Message, args...), "\n", "; "))
	return Active{c.Component, c.Code, c.Severity, message, c.Remedy, since}
}

var table []*Condition

func row(c Condition) *Condition {
	table = append(table, &c)
	return &c
}

// Codes that are used by rules, which must not refer to their own table.
const (
	codeNotStored      = "ticks_not_stored"
	codeCollectordAway = "collectord_away"
	codeShipperdAway   = "shipperd_away"
	codeUnreadable     = "database_unreadable"
)

// What several remedies say.
const (
	repairFile = "Free disk space, remount the file system read-write, or give the directory of `storage.path` to the user of the daemons, as the error says."
	checkLink  = "While the network is down, do nothing: samples wait in the file. Otherwise run `belabox-shipperd doctor`."
	catchUp    = "After an outage, do nothing: shipperd catches up. If the backlog keeps growing, the network is too slow: raise `collection.interval` or disable collectors."
)

// The table. Of the conditions with a rule, the first of each component that holds is reported, so
// the worse come first. Of the others any number can hold.
var (
	_ = row(Condition{
		"collectors", "all_collectors_failing", Error, "collectord",
		"every collector fails, except the one for the self-metrics",
		"all %d collectors are failing",
		"Check that /proc and /sys are readable: `collection.procfs_path`, `collection.sysfs_path`, and in a container the mounts. The list of collectors shows each error.",
		allCollectorsFailing,
	})
	_ = row(Condition{
		"collectors", "collectors_failing", Degraded, "collectord",
		"at least one collector fails",
		"%d of %d collectors are failing: %s",
		"See the error in the list of collectors. Repair the sensor or driver, add the names in brackets to `collection.ignore_sensors` if they will not work again, or disable the collector under `collection.collectors`.",
		collectorsFailing,
	})
	InterfaceGone = row(Condition{
		"collectors", "interface_gone", OK, "collectord",
		"a network interface that was sampled has disappeared; holds until it is back, for a day at most",
		"network interfaces disappeared: %s%s",
		"Check whether it was renamed or unplugged, or its modem is off (`ip link`, `dmesg`). Its series have ended. Under a new name it has new series: change charts and alerts, or restore the old name with a systemd `.link` file.",
		nil,
	})
	ValuesAbsent = row(Condition{
		"collectors", "values_absent", OK, "collectord",
		"values that were sampled have been absent for 10 minutes or more, without an error; holds until they are back, for a day at most",
		"no value for 10 minutes or more: %s%s",
		"Check whether the device or driver was removed or switched off, the radio has lost its link, or the file system can no longer be read. The series have ended.",
		nil,
	})

	UploadStalled = row(Condition{
		"uploader", "upload_stalled", Error, "shipperd",
		"no upload for more than 10 minutes, and more than `health.error_threshold` (10000) rows pending",
		"no upload for %s and more than %s rows pending%s",
		"Check the network and the server, then run `belabox-shipperd doctor`. Samples wait in the file; at `storage.max_size_mb` the oldest are dropped.",
		uploadStalled,
	})
	UploadOverdue = row(Condition{
		"uploader", "upload_overdue", Degraded, "shipperd",
		"no upload for more than 10 × `remote.upload_interval` (10m)",
		"no upload for %s, limit %s%s", checkLink,
		uploadOverdue,
	})
	UploadLate = row(Condition{
		"uploader", "upload_late", Degraded, "shipperd",
		"no upload for more than 2 × `remote.upload_interval` (2m)",
		"no upload for %s, limit %s%s", checkLink,
		uploadLate,
	})
	Unproven = row(Condition{
		"uploader", "unproven", Degraded, "shipperd",
		"`remote.verify.enabled` is false",
		"uploads are not read back; delivery is at least once and unproven",
		"Set `remote.verify.enabled` to true and give the credentials read access.",
		nil,
	})
	ReadsRefused = row(Condition{
		"uploader", "reads_refused", Degraded, "shipperd",
		"reads have been refused for more than a minute (400, 401, 403, 404), or answered by something other than the server (a redirect, a web page)",
		"uploads cannot be read back, access refused: %s",
		"Give the credentials read access, route /api/v1/export and /api/v1/query to the server, or set `remote.verify.url`. Log in if the network has a login page. Samples stay in the file and do not count as delivered.",
		nil,
	})
	NotVisible = row(Condition{
		"uploader", "not_visible", Degraded, "shipperd",
		"for two minutes (two upload intervals if that is longer), the server has shown none of the samples that were sent; it is read every 10 upload intervals (10m), at most every 30 minutes",
		"the server shows none of the samples that were sent; the oldest is from %s UTC",
		"Check that `remote.verify.url` reads the tenant that `remote.url` writes to, that no filter hides the device's series and no relabeling renames them, and whether a proxy such as vmagent holds samples in a queue. Meanwhile no sample is lost or sent again.",
		nil,
	})
	UnprovenDropped = row(Condition{
		"uploader", "unproven_dropped", Degraded, "shipperd",
		"accepted samples that could not be read back were dropped within the last hour to keep the file within `storage.max_size_mb`",
		"accepted samples were dropped before they could be read back",
		"Restore the read-back (see the other conditions), or raise `storage.max_size_mb`.",
		nil,
	})
	Unread = row(Condition{
		"uploader", "unread", Degraded, "shipperd",
		"read-backs have failed for more than 10 minutes",
		"uploads cannot be read back: %s",
		"Run `belabox-shipperd doctor`; it sends the same query. No sample is lost; samples stay in the file until they are read back.",
		nil,
	})
	NotKept = row(Condition{
		"uploader", "not_kept", Degraded, "shipperd",
		"the server answers 2xx and does not show some series or samples, while it shows others; samples are sent again up to `remote.verify.max_resends` (5) times, and those of a series that is not shown for two hours become dead letters",
		"the server accepts samples and does not keep them; the oldest is from %s UTC (%s ago)",
		"If that is older than the server's -retentionPeriod, set `remote.max_past` below it or let the server keep more. Otherwise check the server's limits (vm_rows_ignored_total on its /metrics). `belabox-shipperd doctor` compares them. Then run `belabox-shipperd deadletter retry all`.",
		nil,
	})
	ServerThins = row(Condition{
		"uploader", "server_thins", OK, "shipperd",
		"the server keeps only one of several samples",
		"the server keeps one sample per deduplication interval",
		"If that is not intended, start the server with -dedup.minScrapeInterval=1ms. Samples that it removes count as verified.",
		nil,
	})
	LinkBudget = row(Condition{
		"uploader", "link_budget", OK, "shipperd",
		"`remote.monthly_budget_mb` is used up, or will be before the month ends although shipperd uploads as rarely as it may",
		"the monthly budget of the link will not last: %s of %s MB used, forecast %s MB",
		"No sample is dropped to save traffic. Raise `remote.monthly_budget_mb`, or sample less: raise `collection.interval`, or disable collectors.",
		nil,
	})
	UploadsOff = row(Condition{
		"uploader", "uploads_off", OK, "shipperd",
		"`remote.enabled` is false",
		"uploads are disabled; samples stay in the file",
		"To upload, set `remote.enabled: true` and restart shipperd. The file grows up to `storage.max_size_mb`.",
		nil,
	})
	DeadLetters = row(Condition{
		"uploader", "dead_letters", OK, "shipperd",
		"there are dead letters",
		"some samples could not be delivered and are kept as dead letters",
		"List the reasons with `belabox-shipperd deadletter list`, fix the cause, then run `belabox-shipperd deadletter retry all`. For the reason not_stored check the server's -retentionPeriod and limits first.",
		nil,
	})

	TicksNotStored = row(Condition{
		"storage", codeNotStored, Error, "collectord",
		"the last tick was not stored; its samples are lost",
		"the database cannot be written, samples of %s lost: %s",
		repairFile,
		nil,
	})
	DeliveryWaits = row(Condition{
		"storage", "delivery_waits", Error, "shipperd",
		"shipperd cannot write to the database, so it sends nothing",
		"uploads are paused because the database cannot be used: %s",
		repairFile + " No sample is lost by the pause.",
		nil,
	})
	NotStarted = row(Condition{
		"storage", "not_started", Error, "both",
		"the daemon cannot open the database because the disk is full or its file system is mounted read-only; it tries again every 5 s, and until then does nothing else",
		"the database cannot be opened: %s",
		"Free disk space, or repair the file system: after a disk error it stays read-only until it is checked (fsck), so restart the device. If it fails again, replace the disk or card.",
		nil,
	})
	DatabaseUnreadable = row(Condition{
		"storage", codeUnreadable, Error, "both",
		"the pending rows cannot be counted",
		"the database cannot be read: %s",
		"Run `belabox-shipperd doctor`; it checks the directory, the file and its owner.",
		nil,
	})
	DatabaseDamaged = row(Condition{
		"storage", "database_damaged", Degraded, "both",
		"a damaged database file that was set aside is beside the database",
		"%s",
		"Check the disk or SD card. Remove the files when you no longer need them; this clears the condition.",
		nil,
	})
	WALLarge = row(Condition{
		"storage", "wal_large", Degraded, "collectord",
		"the WAL is larger than `storage.wal_checkpoint_size_mb` (64)",
		"the WAL has %d MB, limit %d MB; checkpoints cannot shorten it",
		"Find the program that keeps a transaction open (`fuser -v` on the database) and end it. If there is none, check the disk and the log of collectord.",
		nil,
	})
	ShipperdAway = row(Condition{
		"storage", codeShipperdAway, Degraded, "collectord",
		"shipperd is not running, though `remote.enabled` is true; `since` is the time of its last write to the file",
		"shipperd is not running; samples wait in the file%s",
		"Start shipperd: `systemctl start belabox-shipperd`. If it does not keep running, its log (`journalctl -u belabox-shipperd`) shows why.",
		nil,
	})
	CollectordAway = row(Condition{
		"storage", codeCollectordAway, Degraded, "shipperd",
		"collectord is not running; `since` is the time of the newest sample in the file",
		"collectord is not running; no samples are taken%s",
		"Start collectord: `systemctl start belabox-collectord`. If it does not keep running, its log (`journalctl -u belabox-collectord`) shows why.",
		nil,
	})
	BacklogLarge = row(Condition{
		"storage", "backlog_large", Degraded, "both",
		"more than `health.error_threshold` (10000) rows pending",
		"more than %s rows pending%s", catchUp,
		backlogLarge,
	})
	Backlog = row(Condition{
		"storage", "backlog", Degraded, "both",
		"`health.degraded_threshold` (5000) rows pending, or more",
		"%s or more rows pending%s", catchUp,
		backlog,
	})

	FileTimeEnded = row(Condition{
		"time", "file_time_ended", Error, "collectord",
		"the keys of the file, which end in September 2039, are used up, and samples are refused",
		"the keys of the database are used up: samples are refused",
		"When shipperd has delivered everything (`belabox-shipperd status`), stop both daemons, move the files of `storage.path` away (`mv metrics.db*`) and start the daemons: they create a new file.",
		nil,
	})
	ClockUnset = row(Condition{
		"time", "clock_unset", Degraded, "collectord",
		"the true time is not known, and the clock is more than a minute behind the newest sample, more than 30 days ahead of it, or has not been synchronised for a minute while `remote.enabled` is true",
		"the clock may not be set: it shows %s UTC, %s",
		"Connect the device to a network with NTP (`timedatectl`), or to its server. Samples are kept until then.",
		nil,
	})
	TimeUnconfirmed = row(Condition{
		"time", "time_unconfirmed", Degraded, "shipperd",
		"the clock is not synchronised; the server's time differs from it by more than 5 minutes, and no second source confirms that time (the other side of the server, or `monitoring.clock_skew_url`); or its answers do not show that they are the server's; or they have no time, and the clock is behind earlier samples",
		"samples wait for their true time: %s",
		"Let NTP set the clock (`timedatectl`), set it by hand (`date -s`), or set `monitoring.clock_skew_url`. If the server consists of several programs, check that their clocks agree. Meanwhile samples are kept.",
		nil,
	})
	ClockSkew = row(Condition{
		"time", "clock_skew", Degraded, "both",
		"the clock is off by more than `monitoring.clock_skew_warn_threshold_ms` (2000); without `monitoring.clock_skew_url` by more than 5 minutes, compared with the answers to uploads",
		"the clock is %s %s",
		"Let NTP set the clock (`timedatectl`). If it is synchronised already, the clock that it is compared with is wrong: that of `monitoring.clock_skew_url`, or, if that is empty, that of the server. Samples get their true time where it is known for certain.",
		clockSkew,
	})
	ClockUnchecked = row(Condition{
		"time", "clock_unchecked", OK, "both",
		"`monitoring.clock_skew_url` is empty",
		"the clock is not checked",
		"Set `monitoring.clock_skew_url` to a web server whose clock is right, such as /health of the metrics server.",
		nil,
	})
	ClockUnknown = row(Condition{
		"time", "clock_unknown", OK, "both",
		"the clock has not been compared successfully for three check intervals, or never",
		"the clock has not been checked recently",
		"The log of shipperd (`journalctl -u belabox-shipperd`) shows why `monitoring.clock_skew_url` does not answer.",
		nil,
	})
)
