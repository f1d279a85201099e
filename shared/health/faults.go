package health

import (
	"slices"
	"time"
)

// Fault is a row of the second table: what a daemon finds by itself, beyond the rules. Any number of them may hold.
type Fault struct {
	Component string
	Code      string
	Severity  Status
	Daemons   string // who can find it: "collectord", "shipperd" or "both"
	Condition string // in words
	Remedy    string // what a person should do
}

// Reason returns the fault as it is found now. A zero since leaves it to the Monitor to date it.
func (f Fault) Reason(message string, since time.Time) Reason {
	return Reason{Component: f.Component, Code: f.Code, Severity: f.Severity, Message: message, Since: since}
}

// The faults. Those whose severity is OK are notes, which change no status.
var (
	Unproven = Fault{
		"uploader", "unproven", Degraded, "shipperd",
		"what was sent is not read back: remote.verify.enabled is false, or the server answers no questions",
		"Give the credentials read access, or set remote.verify.url. Until then delivery is at least once, and unproven.",
	}
	Unread = Fault{
		"uploader", "unread", Degraded, "shipperd",
		"what was sent cannot be read back for more than 10 minutes",
		"The message has the cause; `belabox-shipperd doctor` asks the server the same. Nothing is lost by it, but nothing is proven: samples stay in the file until they can be read.",
	}
	NotKept = Fault{
		"uploader", "not_kept", Degraded, "shipperd",
		"the server answers well to samples and does not have them afterwards; they are sent again, up to remote.verify.max_resends (5) times, and are dead letters then",
		"If the oldest of them is older than the server's -retentionPeriod, set remote.max_past below it, and they are stored at that edge, or let the server keep more. Else look at the server's limits (vm_rows_ignored_total on its /metrics). `shipperd doctor` compares them. Then `shipperd deadletter retry all`.",
	}
	ServerThins = Fault{
		"uploader", "server_thins", OK, "shipperd",
		"the server keeps one sample of several",
		"Nothing, if it is meant to: see -dedup.minScrapeInterval of the server. What it leaves out counts as verified.",
	}
	UploadsOff = Fault{
		"uploader", "uploads_off", OK, "shipperd",
		"remote.enabled is false",
		"Nothing, if it is meant to: samples stay in the file up to storage.max_size_mb.",
	}
	InterfaceGone = Fault{
		"collectors", "interface_gone", OK, "collectord",
		"a network interface that was sampled is no longer there: until it is back, or for a day",
		"Nothing, if it was meant to go. It was renamed, unplugged, or its modem is off (`ip link`, `dmesg`). Its series have ended; under another name it has new ones, so change charts and alerts, or give it the old name back (a `.link` file of systemd).",
	}
	TicksNotStored = Fault{
		"storage", "ticks_not_stored", Error, "collectord",
		"the last tick could not be stored; its samples are lost",
		"The message has the cause: make room on a full disk, mount a read-only file system for writing, give the folder of storage.path to the user of the daemons.",
	}
	DeliveryWaits = Fault{
		"storage", "delivery_waits", Error, "shipperd",
		"shipperd cannot write to the database, so nothing is sent",
		"As for ticks_not_stored. Nothing is lost by it.",
	}
	DatabaseUnreadable = Fault{
		"storage", "database_unreadable", Error, "both",
		"the pending rows cannot be counted",
		"The message has the cause. `belabox-shipperd doctor` looks at the folder, the file and its owner.",
	}
	DatabaseDamaged = Fault{
		"storage", "database_damaged", Degraded, "both",
		"a damaged database file, set aside by a start, stands beside the database",
		"The message says what was lost. Look at the disk or card; remove the files it names when nobody needs them, and the reason goes.",
	}
	WALLarge = Fault{
		"storage", "wal_large", Degraded, "collectord",
		"the WAL is larger than storage.wal_checkpoint_size_mb (64)",
		"Something keeps it from being emptied: another program with an open transaction (`fuser -v` on the database names it; end it), or a failing disk. collectord's log says which.",
	}
	ShipperdAway = Fault{
		"storage", "shipperd_away", Degraded, "collectord",
		"shipperd does not run, though remote.enabled is true",
		"Start shipperd; samples wait for it. Since when: the last sign of it in the file.",
	}
	CollectordAway = Fault{
		"storage", "collectord_away", Degraded, "shipperd",
		"collectord does not run: nothing new is sampled",
		"Start collectord. Since when: the newest sample in the file.",
	}
	DeadLetters = Fault{
		"uploader", "dead_letters", OK, "shipperd",
		"there are samples that could not be delivered",
		"`belabox-shipperd deadletter list` shows each with its reason; `belabox-shipperd deadletter retry all` sends them again once the cause is mended.",
	}
	ClockUnchecked = Fault{
		"time", "clock_unchecked", OK, "both",
		"monitoring.clock_skew_url is empty; shipperd says so all the same if the clock is more than 5 minutes off that of the uploads' answers",
		"Set it to any web server whose clock is right, such as /health of the metrics server.",
	}
	ClockUnknown = Fault{
		"time", "clock_unknown", OK, "both",
		"no comparison of the clock has succeeded yet, or not for three check intervals",
		"See shipperd's log for why monitoring.clock_skew_url does not answer. collectord knows the clock from shipperd alone.",
	}
)

// Faults returns the table.
func Faults() []Fault { return slices.Clone(faults) }

var faults = []Fault{
	InterfaceGone,
	TicksNotStored, DeliveryWaits, DatabaseUnreadable, DatabaseDamaged, WALLarge, ShipperdAway, CollectordAway,
	Unproven, Unread, NotKept, ServerThins, UploadsOff, DeadLetters, ClockUnchecked, ClockUnknown,
}
