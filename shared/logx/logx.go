// Package logx sets up the daemons' logs: log/slog as JSON for machines or as text for a console.
//
// It promises one line a record, times in UTC (JSON), no known secret in any of them (Secrets),
// only printable characters (human.IsPrintable) whatever the record holds, and that a failure that
// repeats costs a line a minute, not a line each time (Throttle). It does not buffer and does not
// rotate: the lines go to standard error, and the journal or the container runtime keeps them.
package logx

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"

	"golang.org/x/term"

	"belabox-metrics/shared/human"
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
	options := &slog.HandlerOptions{Level: lowest, ReplaceAttr: shorten(w)}
	out := &output{w: w}
	switch format {
	case "json":
		out.inner = slog.NewJSONHandler(&out.line, options)
		out.format = func(_ slog.Record, line []byte) []byte { return human.JSON(line, true) }
	case "console":
		options.ReplaceAttr = withoutHead(options.ReplaceAttr)
		out.inner = slog.NewTextHandler(&out.line, options)
		out.format = consoleLine
		if colour(w, os.Getenv) {
			out.format = colouredLine
		}
	default:
		return nil, fmt.Errorf("log format %q: use json or console", format)
	}
	return slog.New(handler{out, out.inner}), nil
}

var levels = map[string]slog.Level{
	"debug": slog.LevelDebug,
	"info":  slog.LevelInfo,
	"warn":  slog.LevelWarn,
	"error": slog.LevelError,
}

// output is where all handlers of a logger write to. What makes the text printable comes last,
// after everything that quotes or decodes.
type output struct {
	w      io.Writer
	inner  slog.Handler
	format func(r slog.Record, line []byte) []byte

	mu   sync.Mutex
	line bytes.Buffer // what inner made of the record
}

type handler struct {
	out *output
	slog.Handler
}

// Handle turns the time of the record to UTC: lines of devices in different zones then sort as
// text.
func (h handler) Handle(ctx context.Context, r slog.Record) error {
	local := r
	r.Time = r.Time.UTC()
	h.out.mu.Lock()
	defer h.out.mu.Unlock()
	h.out.line.Reset()
	if err := h.Handler.Handle(ctx, r); err != nil {
		return err
	}
	_, err := h.out.w.Write(h.out.format(local, h.out.line.Bytes()))
	return err
}

func (h handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return handler{h.out, h.Handler.WithAttrs(attrs)}
}

func (h handler) WithGroup(name string) slog.Handler {
	return handler{h.out, h.Handler.WithGroup(name)}
}

func colour(w io.Writer, getenv func(string) string) bool {
	f, ok := w.(interface{ Fd() uintptr })
	return ok && getenv("NO_COLOR") == "" && getenv("TERM") != "dumb" && term.IsTerminal(int(f.Fd()))
}

type replaceAttr func(groups []string, a slog.Attr) slog.Attr

// textMost is how many bytes of a string or an error are logged, but of a stack all. Texts of
// others in an error have been cut before.
const textMost = 2000

// shorten cuts long texts. A writer of Secrets redacts them before.
func shorten(w io.Writer) replaceAttr {
	secrets := new(Secrets)
	if r, ok := w.(interface{ of() *Secrets }); ok {
		secrets = r.of()
	}
	return func(_ []string, a slog.Attr) slog.Attr {
		var text string
		switch v := a.Value.Any().(type) {
		case string:
			text = v
		case error:
			text = v.Error()
		}
		if len(text) > textMost && a.Key != KeyStack {
			text = secrets.RedactParts(text)
			a.Value = slog.StringValue(strings.ToValidUTF8(text[:min(len(text), textMost)], "") + "...")
		}
		return a
	}
}

// withoutHead leaves out what consoleLine writes itself.
func withoutHead(next replaceAttr) replaceAttr {
	return func(groups []string, a slog.Attr) slog.Attr {
		if len(groups) == 0 {
			switch _, level := a.Value.Any().(slog.Level); {
			case level, a.Key == slog.MessageKey, a.Key == slog.TimeKey && a.Value.Kind() == slog.KindTime:
				return slog.Attr{}
			}
		}
		return next(groups, a)
	}
}

const consoleTime = "2006-01-02 15:04:05.000"

var levelNames = map[slog.Level]string{
	slog.LevelDebug: "DBG", slog.LevelInfo: "INF", slog.LevelWarn: "WRN", slog.LevelError: "ERR",
}

// consoleLine puts time, level and message before the attributes.
func consoleLine(r slog.Record, attrs []byte) []byte {
	return []byte(human.Printable(strings.TrimSpace(strings.Join([]string{
		r.Time.Format(consoleTime), levelNames[r.Level], r.Message, strings.TrimSuffix(string(attrs), "\n"),
	}, " "))) + "\n")
}

var levelColours = map[slog.Level]string{slog.LevelInfo: "\x1b[92m", slog.LevelWarn: "\x1b[93m", slog.LevelError: "\x1b[91m"}

// colouredLine colours time and level of a line that is printable.
func colouredLine(r slog.Record, attrs []byte) []byte {
	const reset = "\x1b[0m"
	line := string(consoleLine(r, attrs))
	return []byte("\x1b[2m" + line[:len(consoleTime)] + reset + " " + levelColours[r.Level] + levelNames[r.Level] + reset + line[len(consoleTime)+4:])
}
