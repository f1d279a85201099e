package victoria

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

// Class says what a failure means for the delivery.
type Class string

// The classes, and what to do about them.
const (
	ClassNetwork   Class = "network"   // no connection, or it broke: try again
	ClassTimeout   Class = "timeout"   // no answer in time: try again
	ClassServer    Class = "server"    // the server failed, or its answer is not valid: try again
	ClassThrottled Class = "throttled" // the server demands a pause: try again then
	ClassAuth      Class = "auth"      // a setting is wrong, such as credentials: a person must act, nothing is lost
	ClassTooLarge  Class = "too_large" // send less at once
	ClassRejected  Class = "rejected"  // something in the body is wrong: bisect
	ClassRedirect  Class = "redirect"  // a login page answers, or the address is wrong: a person must act, nothing is lost
	// ClassStranger: the answer is not one that VictoriaMetrics gives: an HTML page, a change of
	// protocol, samples of other devices. It may come from the login page of a network: wait.
	ClassStranger Class = "not_our_server"
)

// Evidence is what a failed read says; see docs/decisions/0008-evidence.md. The other three kinds
// (proved, absent with and without a witness) follow from an answer.
type Evidence string

const (
	Refused      Evidence = "refused"        // the read itself is not allowed, or not known
	Unreachable  Evidence = "unreachable"    // no answer, or not now
	NotOurServer Evidence = "not our server" // something else has answered
)

// Evidence returns what a failed read says.
func (e *Error) Evidence() Evidence {
	switch {
	case e.Class == ClassStranger, e.Class == ClassRedirect:
		return NotOurServer
	case e.Class == ClassAuth, e.Class == ClassTooLarge, e.Class == ClassRejected && !e.Busy():
		return Refused
	}
	return Unreachable
}

// Busy reports whether the server is overloaded or the query was too large: the next one has to
// be smaller and later. vmselect answers 422 to a query that timed out on its storage, and 429 at
// -search.maxConcurrentRequests.
func (e *Error) Busy() bool {
	return e.Status == http.StatusUnprocessableEntity || e.Status == http.StatusTooManyRequests || e.Class == ClassThrottled
}

// ErrNotSupported is in the error of a server that has no such endpoint.
var ErrNotSupported = errors.New("the server does not offer this")

// Error is a failed request.
type Error struct {
	Class Class
	// Reason is why there is no answer, as far as it is known.
	Reason Reason
	// Status is the HTTP status, 0 without an answer.
	Status int
	// RetryAfter is the pause that the server demands, 0 = nothing; at most an hour.
	RetryAfter time.Duration
	// Ambiguous says of an import that the server may have stored the samples, or
	// some: the body may have been read and no answer rules it out.
	Ambiguous bool
	// Body is the beginning of the answer, at most 200 bytes, without secrets.
	Body string
	// Err is the cause, where it is not the status. It can be tested with
	// errors.Is; its text has no secrets.
	Err error

	request string // "import to http://host/path"
}

func (e *Error) Error() string {
	var parts []string
	if e.request != "" {
		parts = append(parts, e.request)
	}
	if e.Status > 0 {
		parts = append(parts, strings.TrimSpace(fmt.Sprintf("the server answered %d %s", e.Status, http.StatusText(e.Status))))
	}
	if e.Err != nil {
		parts = append(parts, e.Err.Error())
	}
	if e.Body != "" {
		parts = append(parts, strconv.Quote(e.Body))
	}
	return strings.Join(parts, ": ")
}

func (e *Error) Unwrap() error { return e.Err }

// ErrorType is the class under which logs show the error.
func (e *Error) ErrorType() string { return string(e.Class) }

// verdict is what a status means.
type verdict struct {
	class     Class
	ambiguous bool
	hint      string // what to do about it
}

// judge is the one table from status to class. Ambiguous are those after which
// VictoriaMetrics may have stored lines: it stores block by block while it reads,
// and answers 400 or 5xx when a later block fails.
//
//	1xx                               stranger   ambiguous
//	2xx                               accepted, no error
//	3xx                               redirect   nothing stored
//	401, 403, 404, 407                auth       nothing stored
//	other 4xx that blame the request  auth       nothing stored
//	408                               timeout    ambiguous
//	413                               too large  nothing stored
//	425, 429                          throttled  nothing stored
//	400, other 4xx                    rejected   ambiguous
//	503 with Retry-After              throttled  ambiguous
//	511, by which a network demands a log-in   stranger   ambiguous
//	5xx, anything else                server     ambiguous
//
// "other 4xx that blame the request" keeps a wrong setting from rejecting good samples: a proxy
// that answers 405 or 415 to everything has not looked at any of them. For the
// same reason the 400 with which VictoriaMetrics answers to a path that it does
// not know counts as auth.
func judge(status int, retryAfter bool, body string) verdict {
	switch {
	case status < 200:
		return verdict{ClassStranger, true, "it wants to change the protocol: no server of metrics does"}
	case status >= 300 && status <= 399:
		return verdict{ClassRedirect, false, ""}
	case status == 400 && strings.Contains(body, "unsupported path requested"):
		return verdict{ClassAuth, false, "the path of the address is wrong"}
	}
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden:
		return verdict{ClassAuth, false, "check the token or user and password"}
	case http.StatusProxyAuthRequired:
		return verdict{ClassAuth, false, "check user and password in HTTP_PROXY or HTTPS_PROXY"}
	case http.StatusNotFound:
		return verdict{ClassAuth, false, "check the path of the address"}
	case http.StatusPaymentRequired, http.StatusMethodNotAllowed, http.StatusNotAcceptable, http.StatusGone, http.StatusLengthRequired,
		http.StatusPreconditionFailed, http.StatusRequestURITooLong, http.StatusUnsupportedMediaType, http.StatusExpectationFailed,
		http.StatusMisdirectedRequest, http.StatusUpgradeRequired, http.StatusPreconditionRequired,
		http.StatusRequestHeaderFieldsTooLarge, http.StatusUnavailableForLegalReasons:
		return verdict{ClassAuth, false, "check address, headers and proxy"}
	case http.StatusRequestTimeout:
		return verdict{ClassTimeout, true, ""}
	case http.StatusRequestEntityTooLarge:
		return verdict{ClassTooLarge, false, ""}
	case http.StatusTooEarly, http.StatusTooManyRequests:
		return verdict{ClassThrottled, false, ""}
	}
	switch {
	case status >= 400 && status <= 499:
		return verdict{ClassRejected, true, ""}
	case status == http.StatusNetworkAuthenticationRequired:
		return verdict{ClassStranger, true, "the network demands a log-in"}
	case status == http.StatusServiceUnavailable && retryAfter:
		return verdict{ClassThrottled, true, ""}
	}
	return verdict{ClassServer, true, ""}
}

// unsupported distinguishes a server without the endpoint from one that refuses the request.
func unsupported(status int, v verdict) bool {
	switch status {
	case http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusNotImplemented:
		return true
	}
	return status == http.StatusBadRequest && v.class == ClassAuth
}

// classOf judges a failure without a status.
func classOf(err error) Class {
	var netErr net.Error
	switch {
	case errors.Is(err, errConfiguration):
		return ClassAuth
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &netErr) && netErr.Timeout():
		return ClassTimeout
	}
	return ClassNetwork
}

// cause is an error whose text contains no secrets. The original error can be tested but not
// printed.
type cause struct {
	text string
	err  error
}

func (c *cause) Error() string        { return c.text }
func (c *cause) Is(target error) bool { return errors.Is(c.err, target) }
