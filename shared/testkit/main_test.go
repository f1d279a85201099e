package testkit

import (
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"testing"
	"time"
)

// A test re-executes this test binary with childEnv set to play one of the
// children below.
const childEnv = "TESTKIT_CHILD"

func TestMain(m *testing.M) {
	switch os.Getenv(childEnv) {
	case "":
		os.Exit(m.Run())
	case "talk": // some lines on both streams, then an exit code
		fmt.Println("hello from stdout")
		fmt.Fprintln(os.Stderr, "hello from stderr")
		fmt.Print("no newline")
		os.Exit(7)
	case "polite": // ends on SIGTERM
		terms := make(chan os.Signal, 1)
		signal.Notify(terms, syscall.SIGTERM)
		fmt.Println("ready")
		<-terms
		fmt.Println("stopping")
	case "stubborn": // ignores SIGTERM
		signal.Ignore(syscall.SIGTERM)
		fmt.Println("ready")
		time.Sleep(time.Hour)
	case "parent": // starts a child of its own and dies without any cleanup
		t := &orphanT{}
		p, err := startProc(t, Command{Path: os.Args[0], Env: []string{childEnv + "=stubborn"}})
		if err == nil {
			_, err = p.waitLine(WaitLimit, "ready")
		}
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println("child", p.PID())
		time.Sleep(time.Hour)
	default:
		fmt.Fprintln(os.Stderr, "unknown child")
		os.Exit(2)
	}
}

// orphanT stands in for a test whose cleanup never runs.
type orphanT struct{ testing.TB }

func (*orphanT) Cleanup(func()) {}

// fakeT stands in for a test that a helper fails: it keeps the message and ends
// the goroutine as the real one does.
type fakeT struct {
	testing.TB
	failed   bool
	log      string
	cleanups []func()
}

func (t *fakeT) Helper()          {}
func (t *fakeT) Failed() bool     { return t.failed }
func (t *fakeT) Cleanup(f func()) { t.cleanups = append(t.cleanups, f) }

func (t *fakeT) Logf(format string, args ...any) {
	t.log += fmt.Sprintf(format, args...) + "\n"
}

func (t *fakeT) Errorf(format string, args ...any) {
	t.failed = true
	t.Logf(format, args...)
}

func (t *fakeT) Fatalf(format string, args ...any) {
	t.Errorf(format, args...)
	panic(t)
}

func (t *fakeT) Fatal(args ...any) { t.Fatalf("%s", fmt.Sprint(args...)) }

// failure runs f with a test that may fail, ends it, and returns what it logged;
// "" says that it passed.
func failure(t testing.TB, f func(t testing.TB)) (log string) {
	ft := &fakeT{TB: t}
	defer func() {
		if r := recover(); r != nil && r != any(ft) {
			panic(r)
		}
		for i := len(ft.cleanups) - 1; i >= 0; i-- {
			ft.cleanups[i]()
		}
		if ft.failed {
			log = ft.log
		}
	}()
	f(ft)
	return ""
}
