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
		"The message has the cause. `shipperd doctor` looks at the folder, the file and its owner.",
	}
	DatabaseDamaged = Fault{
		"storage", "database_damaged", Degraded, "both",
		"a damaged database file, set aside by a start, stands beside the database",
		"The message says what was lost. Look at the disk or card; remove the files it names when nobody needs them, and the reason goes.",
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
		"`shipperd deadletter list` shows each with its reason; `shipperd deadletter retry all` sends them again once the cause is mended.",
	}
	ClockUnchecked = Fault{
		"time", "clock_unchecked", OK, "both",
		"monitoring.clock_skew_url is empty",
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
	TicksNotStored, DeliveryWaits, DatabaseUnreadable, DatabaseDamaged, ShipperdAway, CollectordAway,
	Unproven, ServerThins, UploadsOff, DeadLetters, ClockUnchecked, ClockUnknown,
}
