package upstream

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	// maxErrorBytes is how much of an error's answer is read.
	maxErrorBytes = 4 << 10
	// maxExcerptBytes is how much of it gets into the log.
	maxExcerptBytes = 500
)

// Error is a request that the server did not fulfil.
type Error struct {
	// Status is what the sender is to be told: 400, 413, 422, 429, or 5xx where it is not the sender's fault.
	Status     int
	RetryAfter time.Duration // 0 = not said
	Text       string        // for the sender: nothing of what the server or the network says of the inside
	// MayHaveStored says that the server may have read the samples.
	MayHaveStored bool

	cause error // for the log
}

func (e *Error) Error() string {
	if e.cause != nil {
		return e.Text + ": " + e.cause.Error()
	}
	return e.Text
}

func (e *Error) Unwrap() error { return e.cause }

// failure judges a request without an answer. Only where no connection came about is it certain that nothing was
// stored.
func failure(err error) *Error {
	dial := new(net.OpError)
	if errors.As(err, &dial) && dial.Op == "dial" {
		return &Error{Status: http.StatusServiceUnavailable, RetryAfter: 5 * time.Second, Text: "the upstream cannot be reached", cause: err}
	}
	var timeout net.Error
	if errors.Is(err, context.DeadlineExceeded) || errors.As(err, &timeout) && timeout.Timeout() {
		return &Error{Status: http.StatusGatewayTimeout, Text: "the upstream did not answer in time", MayHaveStored: true, cause: err}
	}
	return &Error{Status: http.StatusBadGateway, Text: "the connection to the upstream broke", MayHaveStored: true, cause: err}
}

// refusal judges an answer that is no success.
//
//	400, 422            passed on: the server has looked at the content
//	413                 passed on: the sender has to split
//	429, 503, 504       passed on with Retry-After
//	anything else       502: a redirect, a wrong path or a refused login is the gateway's own fault, and telling the
//	                    sender 401 or 404 would set its owner looking for a fault in the device
//
// After a 400 as after 5xx VictoriaMetrics may have stored lines: it stores block by block while it reads.
func refusal(resp *http.Response, text []byte) *Error {
	e := &Error{Status: resp.StatusCode, MayHaveStored: true, Text: fmt.Sprintf("the upstream answered %d", resp.StatusCode)}
	if excerpt := strings.ToValidUTF8(strings.TrimSpace(string(text[:min(len(text), maxExcerptBytes)])), "?"); excerpt != "" {
		e.cause = fmt.Errorf("%q", excerpt) // addresses and paths stand in it
	}
	switch resp.StatusCode {
	case http.StatusBadRequest, http.StatusUnprocessableEntity:
		if !strings.Contains(string(text), "unsupported path requested") {
			return e
		}
	case http.StatusRequestEntityTooLarge, http.StatusTooManyRequests:
		e.MayHaveStored = false
		e.RetryAfter = retryAfter(resp)
		return e
	case http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		e.RetryAfter = retryAfter(resp)
		return e
	}
	if resp.StatusCode < 500 {
		e.MayHaveStored = false
		e.Text += "; its address or its credentials are wrong"
	}
	e.Status = http.StatusBadGateway
	return e
}

// maxRetryAfter bounds what is believed of a server.
const maxRetryAfter = time.Hour

// retryAfter reads seconds or a date (RFC 9110, section 10.2.3).
func retryAfter(resp *http.Response) time.Duration {
	text := resp.Header.Get("Retry-After")
	if n, err := strconv.Atoi(text); err == nil {
		return time.Duration(min(max(n, 0), int(maxRetryAfter/time.Second))) * time.Second
	}
	at, err := http.ParseTime(text)
	if err != nil {
		return 0
	}
	return min(max(time.Until(at).Round(time.Second), 0), maxRetryAfter)
}
