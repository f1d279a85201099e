package metrics

// The self-metrics of collectord, and those about the file.
var (
	Collected = Metric{
		Name: "collector.metrics_collected_total", Kind: Counter,
		Help: "Samples that were committed to the database.",
	}
	CollectFailed = Metric{
		Name: "collector.metrics_failed_total", Kind: Counter, Labels: []string{"reason"},
		Help: "Failures by reason: a source or sensor that failed (source), a sample whose series has one at that millisecond already (duplicate), one whose value or time cannot be stored (invalid), samples of a tick that could not be stored (storage).",
	}
	CollectionDuration = Metric{
		Name: "collector.collection_duration_seconds", Kind: Histogram, Unit: "seconds",
		Help: "Time that the collectors of a tick took together.",
	}
	TicksMissed = Metric{
		Name: "collector.ticks_missed_total", Kind: Counter,
		Help: "Ticks that did not run because the process was delayed. Time in suspend does not count.",
	}
	DatabaseSize = Metric{
		Name: "storage.database_size_bytes", Kind: Gauge, Unit: "bytes",
		Help: "Size of the database file without its WAL. It does not shrink when rows are deleted; their space is used again.",
	}
	WALSize = Metric{
		Name: "storage.wal_size_bytes", Kind: Gauge, Unit: "bytes",
		Help: "Size of the write-ahead log.",
	}
	CheckpointDuration = Metric{
		Name: "storage.wal_checkpoint_duration_ms", Kind: Gauge, Unit: "milliseconds",
		Help: "Time that the last WAL checkpoint took, in an earlier run if this one had none yet. Absent before the first.",
	}
	WALReclaimed = Metric{
		Name: "storage.wal_bytes_reclaimed", Kind: Counter, Unit: "bytes",
		Help: "Bytes by which checkpoints have shortened the WAL.",
	}
	Panics = Metric{
		Name: "agent.panics_total", Kind: Counter, Labels: []string{"daemon"},
		Help: "Panics that were caught: in a collector or a request, which costs that one result, or in a task, which ends the daemon with code 1 so that its supervisor restarts it.",
	}
	HTTPRefused = Metric{
		Name: "agent.http_refused_total", Kind: Counter, Labels: []string{"daemon", "reason"},
		Help: "Refusals of the health port, by reason: a connection that was closed, or served only /health/live, because too many were open (connection), a request whose turn did not come within 5 s (request), a wrong password (login).",
	}
	BytesWritten = Metric{
		Name: "storage.bytes_written_total", Kind: Counter, Unit: "bytes", Labels: []string{"daemon"},
		Help: "Bytes that the daemon caused to be written to the disk, as the kernel counts them (write_bytes of /proc/self/io).",
	}
)

// The self-metrics of shipperd, and those about the pending rows and the clock.
var (
	Uploaded = Metric{
		Name: "uploader.metrics_uploaded_total", Kind: Counter,
		Help: "Samples that the server accepted (2xx).",
	}
	UploadFailures = Metric{
		Name: "uploader.upload_failures_total", Kind: Counter,
		Help: "Chunks whose last attempt in a cycle failed. They are retried.",
	}
	UploadFailing = Metric{
		Name: "uploader.failing", Kind: Gauge, Labels: []string{"cause"},
		Help: "1 while the last attempt to upload has failed, with its cause as in health-monitoring.md, or other; and while reads_refused, unread, not_visible or not_kept holds. 0 after that, and absent while a cause has never occurred.",
	}
	UploadDuration = Metric{
		Name: "uploader.upload_duration_seconds", Kind: Histogram, Unit: "seconds",
		Help: "Time of one request with samples, from its first byte to the end of the answer.",
	}
	PartialSuccess = Metric{
		Name: "uploader.partial_success_total", Kind: Counter,
		Help: "Chunks of which the server accepted a part.",
	}
	BytesSent = Metric{
		Name: "uploader.bytes_sent_total", Kind: Counter, Unit: "bytes",
		Help: "Bytes on the wire to the server, with headers and queries.",
	}
	BytesReceived = Metric{
		Name: "uploader.bytes_received_total", Kind: Counter, Unit: "bytes",
		Help: "Bytes on the wire from the server.",
	}
	Verified = Metric{
		Name: "uploader.metrics_verified_total", Kind: Counter,
		Help: "Samples that were read back from the server, or count as read back because the server is not read.",
	}
	RequeuedTotal = Metric{
		Name: "uploader.metrics_requeued_total", Kind: Counter,
		Help: "Samples that were missing when they were read back, and were sent again.",
	}
	RejectedTotal = Metric{
		Name: "uploader.metrics_rejected_total", Kind: Counter, Labels: []string{"reason"},
		Help: "Samples moved to the dead letters.",
	}
	Pending = Metric{
		Name: "storage.metrics_pending_upload", Kind: Gauge,
		Help: "Rows that the server has not accepted yet.",
	}
	OldestPending = Metric{
		Name: "storage.oldest_pending_seconds", Kind: Gauge, Unit: "seconds",
		Help: "Age of the oldest such row, 0 when there is none.",
	}
	Dropped = Metric{
		Name: "storage.metrics_dropped_total", Kind: Counter, Labels: []string{"reason"},
		Help: "Samples that were lost before they were delivered: deleted to keep the file within storage.max_size_mb, by shipperd (size; unproven if they were accepted and not read back) or by collectord while shipperd was not running (unattended), or unreadable (damaged).",
	}
	ClockSynchronised = Metric{
		Name: "time.clock_synchronised", Kind: Gauge,
		Help: "1 while the clock is synchronised, by NTP for example, otherwise 0. Absent while that is not known: the sandbox of the unit hides the state of programs other than systemd-timesyncd.",
	}
	SamplesCorrected = Metric{
		Name: "time.samples_corrected_total", Kind: Counter, Labels: []string{"how"},
		Help: "Samples sent with a time other than the wall clock's, by the source of their true time (docs/time.md): kernel, server, estimated.",
	}
	LinkBytes = Metric{
		Name: "link.bytes_total", Kind: Counter, Unit: "bytes", Labels: []string{"direction"},
		Help: "Bytes that shipperd's requests cost on the link, by direction: sent, received. An estimate of what a modem counts: IP packets with headers, acknowledgements and lookups.",
	}
	LinkMonth = Metric{
		Name: "link.month_bytes", Kind: Gauge, Unit: "bytes",
		Help: "Such bytes, in both directions, since the last remote.budget_day.",
	}
	LinkForecast = Metric{
		Name: "link.forecast_bytes", Kind: Gauge, Unit: "bytes",
		Help: "Forecast of such bytes for the whole month, from the last days. Absent before 01:00 UTC of the first day.",
	}
	LinkBudgetUsed = Metric{
		Name: "link.budget_used_ratio", Kind: Gauge, Unit: "ratio",
		Help: "Part of remote.monthly_budget_mb that is used; above 1 when it is used up. Absent without a budget.",
	}
	LinkInterval = Metric{
		Name: "link.upload_interval_seconds", Kind: Gauge, Unit: "seconds",
		Help: "Time between two uploads: remote.upload_interval, or longer to keep the budget.",
	}
	LinkInterface = Metric{
		Name: "link.interface", Kind: Gauge, Labels: []string{"interface"},
		Help: "1 for the network interface that carries the uploads, or carried the last ones. Absent while it is not known.",
	}
	Skew = Metric{
		Name: "time.skew_ms", Kind: Gauge, Unit: "milliseconds",
		Help: "How far the device's clock is ahead of monitoring.clock_skew_url's; negative: behind. Absent while it is unknown, or was last compared more than three check intervals ago.",
	}
)

// Collectord and Shipperd are the tables of the two daemons, for the docs.
var (
	Collectord = []*Metric{
		&Collected, &CollectFailed, &CollectionDuration, &TicksMissed,
		&Dropped, &DatabaseSize, &WALSize, &CheckpointDuration, &WALReclaimed, &BytesWritten, &Panics, &HTTPRefused,
		&ClockSynchronised,
	}
	Shipperd = []*Metric{
		&Uploaded, &UploadFailures, &UploadFailing, &UploadDuration, &PartialSuccess, &BytesSent, &BytesReceived,
		&Verified, &RequeuedTotal, &RejectedTotal, &Pending, &OldestPending, &Dropped, &BytesWritten, &Panics, &HTTPRefused, &Skew,
		&SamplesCorrected, &LinkBytes, &LinkMonth, &LinkForecast, &LinkBudgetUsed, &LinkInterval, &LinkInterface,
	}
)
