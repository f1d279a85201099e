// Package logx sets up the daemons' logs: log/slog as JSON for machines or as text for a console.
//
// It promises one line a record, times in UTC (JSON), no known secret in any of them (Secrets), and
// that a failure that repeats costs a line a minute, not a line each time (Throttle). It does not
// buffer and does not rotate: the lines go to standard error, and the journal or the container
// runtime keeps them.
package logx

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"unicode/utf8"

	"github.com/lmittmann/tint"
	"golang.org/x/term"
)

// New returns a logger that writes to w.
//
// Level is the lowest one that is written: debug, info, warn or error. Format is json or console.
// The console is coloured when w is a terminal, NO_COLOR is not set (https://no-color.org) and TERM
// is not dumb.
func New(w io.Writer, level, format string) (*slog.Logger, error) {
	lowest, ok := levels[level]
	if !ok {
		return nil, fmt.Errorf("log level %q: use debug, info, warn or error", level)
	}
	switch format {
	case "json":
		return slog.New(utc{slog.NewJSONHandler(w, &slog.HandlerOptions{Level: lowest})}), nil
	case "console":
		return slog.New(tint.NewTextHandler(w, &tint.Options{
			Level:       lowest,
			TimeFormat:  "2006-01-02 15:04:05.000",
			NoColor:     !colour(w, os.Getenv),
			ReplaceAttr: plain,
		})), nil
	default:
		return nil, fmt.Errorf("log format %q: use json or console", format)
	}
}

var levels = map[string]slog.Level{
	"debug": slog.LevelDebug,
	"info":  slog.LevelInfo,
	"warn":  slog.LevelWarn,
	"error": slog.LevelError,
}

// utc turns the time of each record to UTC: lines of devices in different zones then sort as text.
type utc struct{ slog.Handler }

func (h utc) Handle(ctx context.Context, r slog.Record) error {
	r.Time = r.Time.UTC()
	return h.Handler.Handle(ctx, r)
}

func (h utc) WithAttrs(attrs []slog.Attr) slog.Handler { return utc{h.Handler.WithAttrs(attrs)} }
func (h utc) WithGroup(name string) slog.Handler       { return utc{h.Handler.WithGroup(name)} }

func colour(w io.Writer, getenv func(string) string) bool {
	f, ok := w.(interface{ Fd() uintptr })
	return ok && getenv("NO_COLOR") == "" && getenv("TERM") != "dumb" && term.IsTerminal(int(f.Fd()))
}

// plain keeps what came from elsewhere, such as a server's answer in an error, from steering the
// terminal (the coloured handler lets escape sequences through) and from being cut at its first
// invalid byte (the other one does).
func plain(_ []string, a slog.Attr) slog.Attr {
	var text string
	switch v := a.Value.Any().(type) {
	case string:
		text = v
	case error:
		text = v.Error()
	default:
		return a
	}
	a.Value = slog.StringValue(strings.Map(func(r rune) rune {
		switch r {
		case '\x1b':
			return '␛'
		case utf8.RuneError:
			return '?'
		default:
			return r
		}
	}, text))
	return a
}
