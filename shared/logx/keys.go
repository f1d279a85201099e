package logx

// The keys under which all parts log the same thing. Keys with a unit in their name carry a bare
// number.
const (
	KeySessionID = "session_id"

	// Collection lines.
	KeyCollector  = "collector"
	KeyCount      = "count"
	KeyDurationMS = "duration_ms"

	// Upload lines; they carry KeyDurationMS as well.
	KeyBatchID    = "batch_id"
	KeyChunkIndex = "chunk_index"
	KeyAttempt    = "attempt"
	KeyBackoffMS  = "backoff_ms"
	KeyHTTPStatus = "http_status"
	KeyBytesSent  = "bytes_sent"
	KeyBytesRcvd  = "bytes_rcvd"

	// Failures, see Err; retries carry KeyAttempt and KeyBackoffMS as well.
	KeyError     = "error"
	KeyErrorType = "error_type"
	KeyStack     = "stack" // of a panic

	// Repeated failures and their end, see Throttle.
	KeyRepeated      = "repeated"
	KeyFailures      = "failures"
	KeySince         = "since"
	KeyOutageSeconds = "outage_seconds"
)
