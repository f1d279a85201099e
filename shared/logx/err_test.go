package logx

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"syscall"
	"testing"
)

type classified struct{}

func (classified) Error() string     { return "classified" }
func (classified) ErrorType() string { return "http_429" }

func TestErrorType(t *testing.T) {
	t.Parallel()
	f := func(err error, want string) {
		t.Helper()
		if got := ErrorType(err); got != want {
			t.Errorf("%v: got %q, want %q", err, got, want)
		}
	}
	f(nil, "")
	f(errors.New("x"), "error")
	f(fmt.Errorf("a: %w", errors.New("x")), "error")
	f(fmt.Errorf("a: %w", classified{}), "http_429")
	f(fmt.Errorf("a: %w", context.Canceled), "canceled")
	f(fmt.Errorf("a: %w", context.DeadlineExceeded), "timeout")
	f(&net.OpError{Op: "read", Err: os.ErrDeadlineExceeded}, "timeout")
	f(&net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}, "ECONNREFUSED")
	f(&fs.PathError{Op: "read", Path: "/sys/x", Err: syscall.EAGAIN}, "EAGAIN")
	f(fmt.Errorf("a: %w", &json.SyntaxError{}), "json.SyntaxError")
	f(&fs.PathError{Op: "open", Err: errors.New("x")}, "fs.PathError")
	f(errors.Join(errors.New("x"), &json.SyntaxError{}), "error")
	f(fmt.Errorf("%w, %w", &json.SyntaxError{}, errors.New("x")), "json.SyntaxError")
	f(syscall.Errno(4000), "syscall.Errno")
}

func TestErr(t *testing.T) {
	t.Parallel()
	log, lines := newJSON(t)
	log.Info("m", Err(classified{}))
	log.Info("m", Err(nil))
	got := lines()
	if got[0]["error"] != "classified" || got[0]["error_type"] != "http_429" {
		t.Errorf("got %v, want the two keys beside msg", got[0])
	}
	if len(got[1]) != 3 {
		t.Errorf("got %v, want nothing but time, level, msg", got[1])
	}
}
