package testkit

import (
	"errors"
	"flag"
	"runtime"
	"strconv"
	"testing"
	"time"
)

// WaitLimit is how long a test waits for something that takes a moment on an idle
// machine, such as the start of a daemon. It is for machines with eight times more
// work than processors: waiting ends as soon as the awaited thing is there, so a
// long limit costs a good run nothing. What takes long by itself (an interval of the
// configuration, a proof by reading back) is added to it.
const WaitLimit = 2 * time.Minute

var errNotYet = errors.New("not yet")

// Eventually calls cond until it returns true (or a nil error), and fails the
// test when that has not happened within limit. What names the awaited thing in
// the message, after "waiting for": "the port to answer". The pauses between
// the calls grow from 1 ms to 50 ms.
func Eventually[C func() bool | func() error](t testing.TB, limit time.Duration, what string, cond C) {
	t.Helper()
	if err := poll(limit, cond); err != nil {
		t.Fatalf("waiting for %s: gave up after %v: %v", what, limit, err)
	}
}

// poll is Eventually without a test. It returns the last error of cond.
func poll[C func() bool | func() error](limit time.Duration, cond C) error {
	check := func() error {
		switch cond := any(cond).(type) {
		case func() error:
			return cond()
		case func() bool:
			if cond() {
				return nil
			}
		}
		return errNotYet
	}
	deadline := time.Now().Add(limit)
	for pause := time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		err := check()
		if err == nil {
			return nil
		}
		left := time.Until(deadline)
		if left <= 0 {
			return err
		}
		time.Sleep(min(pause, left))
	}
}

// Rounds is how many rounds of n a random test does: a fifth of them with the race
// detector, which makes each of them ten times slower.
func Rounds(n int) int {
	if Race {
		return max(1, n/5)
	}
	return n
}

// Run is for a TestMain: it runs the tests of a package that wait more than they
// work, atOnce of them at the same time unless -parallel says otherwise.
func Run(m *testing.M, atOnce int) (code int) {
	flag.Parse()
	if parallel := flag.Lookup("test.parallel"); parallel.Value.String() == strconv.Itoa(runtime.GOMAXPROCS(0)) {
		if err := parallel.Value.Set(strconv.Itoa(atOnce)); err != nil {
			panic("BUG: " + err.Error())
		}
	}
	return m.Run()
}
