package victoria

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// maxRetryAfter is the longest wait that a server can impose.
const maxRetryAfter = time.Hour

// parseRetryAfter reads the value of a Retry-After header, seconds or an HTTP
// date, as the time to wait from now: never negative, at most an hour. ok is
// false for anything else.
// https://www.rfc-editor.org/rfc/rfc9110#section-10.2.3
func parseRetryAfter(v string, now time.Time) (wait time.Duration, ok bool) {
	v = strings.Trim(v, " \t")
	if v != "" && strings.Trim(v, "0123456789") == "" {
		seconds, err := strconv.ParseUint(v, 10, 64)
		if err != nil || seconds > uint64(maxRetryAfter/time.Second) { // too many digits
			return maxRetryAfter, true
		}
		return time.Duration(seconds) * time.Second, true
	}
	at, err := http.ParseTime(v)
	if err != nil {
		return 0, false
	}
	return min(max(at.Sub(now), 0), maxRetryAfter), true
}
