package testkit

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

// Keep decides which samples of a request are stored: i counts them from 0 in the
// order of the body.
type Keep func(i int, s Sample) bool

// KeepAll stores everything. It is also what a nil Keep does.
func KeepAll(int, Sample) bool { return true }

// KeepNone stores nothing.
func KeepNone(int, Sample) bool { return false }

// KeepFirst stores the first n samples.
func KeepFirst(n int) Keep {
	return func(i int, _ Sample) bool { return i < n }
}

// KeepEvery stores one sample of n, the first one first.
func KeepEvery(n int) Keep {
	return func(i int, _ Sample) bool { return i%n == 0 }
}

// Part is how much of a request's body the server reads.
type Part int

const (
	WholeBody Part = iota
	HalfBody       // half of Content-Length: what it holds of complete lines can be stored
	NoBody
)

// Reply is what happens to the answer.
type Reply int

const (
	SendReply  Reply = iota
	ResetReply       // the connection is reset and nothing answered
	CutReply         // the connection ends in the middle of the answer's body
	HangReply        // nothing is answered until the client gives up or the server goes away
)

// Step is what the server does with one request: read, store, wait, answer.
type Step struct {
	Read   Part
	Keep   Keep          // nil is KeepAll
	Delay  time.Duration // after storing, before the answer
	Reply  Reply
	Status int // 0: 204 for an import, what is right for a read
	Header http.Header
	Body   string

	// Refuse, where set, decides sample by sample: "" accepts, other text is the
	// reason why the sample is not stored. The answer's body then lists the
	// results in the form of Details; nil is ReceiverDetails.
	Refuse  func(line string, s Sample) (reason string)
	Details func(accepted int, refused []LineResult) string
}

// LineResult is the samples of one line that were refused for one reason.
type LineResult struct {
	Line       int     `json:"line"` // counted from 1
	Reason     string  `json:"reason"`
	Retry      bool    `json:"retry"`
	Timestamps []int64 `json:"timestamps,omitempty"` // none: the whole line
	samples    int
}

// Accept stores everything and answers 204.
func Accept() Step { return Step{} }

// AcceptSome answers 204 and stores only a part.
func AcceptSome(keep Keep) Step { return Step{Keep: keep} }

// AcceptLines stores the lines for which refuse returns "" and answers 200 with
// the results of the others.
func AcceptLines(refuse func(line string) (reason string)) Step {
	return Step{Refuse: func(line string, _ Sample) string { return refuse(line) }, Status: http.StatusOK, Header: isJSON}
}

// AcceptSamples is AcceptLines sample by sample.
func AcceptSamples(refuse func(s Sample) (reason string)) Step {
	return Step{Refuse: func(_ string, s Sample) string { return refuse(s) }, Status: http.StatusOK, Header: isJSON}
}

// isJSON is what a client goes by to look for details in an answer.
var isJSON = http.Header{"Content-Type": {"application/json"}}

// Answer answers with a status after reading the body.
func Answer(status int, keep Keep) Step {
	return Step{Status: status, Keep: keep, Body: http.StatusText(status)}
}

// RetryAfter answers with a status and a Retry-After header, seconds ("7") or an
// HTTP date. Nothing is stored.
func RetryAfter(status int, value string) Step {
	s := Answer(status, KeepNone)
	s.Header = http.Header{"Retry-After": {value}}
	return s
}

// RedirectTo answers 307 with another address. Nothing is stored.
func RedirectTo(url string) Step {
	s := Answer(http.StatusTemporaryRedirect, KeepNone)
	s.Header = http.Header{"Location": {url}}
	return s
}

// ResetAfter resets the connection after reading a part of the body.
func ResetAfter(part Part, keep Keep) Step {
	return Step{Read: part, Keep: keep, Reply: ResetReply}
}

// Hang reads a part of the body and never answers.
func Hang(part Part, keep Keep) Step {
	return Step{Read: part, Keep: keep, Reply: HangReply}
}

// CutAnswer breaks off in the middle of its answer.
func CutAnswer(status int, keep Keep) Step {
	return Step{Status: status, Keep: keep, Reply: CutReply}
}

// AcceptSlowly stores everything at once and answers after a while.
func AcceptSlowly(delay time.Duration) Step { return Step{Delay: delay} }

// AcceptHugely stores everything and answers 200 with n bytes.
func AcceptHugely(n int) Step {
	return Step{Status: http.StatusOK, Body: fmt.Sprintf("%0*d", n, 0)}
}

// ReceiverDetails is the form of the project's receiver.
func ReceiverDetails(accepted int, refused []LineResult) string {
	out := struct {
		Accepted int          `json:"accepted"`
		Rejected int          `json:"rejected"`
		Lines    []LineResult `json:"lines"`
	}{Accepted: accepted, Lines: refused}
	for _, r := range refused {
		out.Rejected += r.samples
	}
	text, err := json.Marshal(out)
	if err != nil {
		panic("BUG: " + err.Error())
	}
	return string(text)
}
