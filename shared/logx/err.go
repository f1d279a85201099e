package logx

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Err is what every line about a failure carries: the keys error and error_type. A nil error gives
// no keys.
func Err(err error) slog.Attr {
	if err == nil {
		return slog.Attr{}
	}
	// A group without a name puts its keys among those of the line.
	return slog.Group("", slog.String(KeyError, err.Error()), slog.String(KeyErrorType, ErrorType(err)))
}

// ErrorType returns a short class of err for counting and searching; it holds no value of the
// moment. The first of these that fits: what an error in the chain returns from a method
// ErrorType() string; "canceled"; the name of the system error, such as "ENOSPC"; "timeout"; the
// innermost type that is more than a text, such as "json.SyntaxError"; else "error". A nil error
// gives "".
func ErrorType(err error) string {
	if err == nil {
		return ""
	}
	if e, ok := errors.AsType[interface {
		error
		ErrorType() string
	}](err); ok {
		return e.ErrorType()
	}
	if errors.Is(err, context.Canceled) {
		return "canceled"
	}
	// Before Timeout, which is true of EAGAIN too: a sensor that is not ready has not timed out.
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		if name := unix.ErrnoName(errno); name != "" {
			return name
		}
	}
	// net, os and context all report a timeout by this method.
	if e, ok := errors.AsType[interface {
		error
		Timeout() bool
	}](err); ok && e.Timeout() {
		return "timeout"
	}
	return innermost(err)
}

// innermost follows the first branch of joined errors.
func innermost(err error) string {
	name := "error"
	for err != nil {
		t := strings.TrimLeft(fmt.Sprintf("%T", err), "*")
		if !strings.HasPrefix(t, "fmt.") && !strings.HasPrefix(t, "errors.") {
			name = t
		}
		switch e := err.(type) {
		case interface{ Unwrap() error }:
			err = e.Unwrap()
		case interface{ Unwrap() []error }:
			err = e.Unwrap()[0]
		default:
			return name
		}
	}
	return name
}
