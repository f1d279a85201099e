package logx

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// newJSON returns a logger and a function that takes its lines so far, parsed.
func newJSON(t *testing.T) (*slog.Logger, func() []map[string]any) {
	t.Helper()
	var buf bytes.Buffer
	log, err := New(&buf, "debug", "json")
	if err != nil {
		t.Fatal(err)
	}
	return log, func() []map[string]any {
		t.Helper()
		var lines []map[string]any
		for dec := json.NewDecoder(&buf); ; {
			var line map[string]any
			err := dec.Decode(&line)
			if errors.Is(err, io.EOF) {
				return lines
			}
			if err != nil {
				t.Fatal(err)
			}
			lines = append(lines, line)
		}
	}
}

func TestNew_JSON(t *testing.T) {
	t.Parallel()
	log, lines := newJSON(t)
	before := time.Now()
	log.With(KeyCollector, "cpu").WithGroup("g").Info("chunk sent", KeyAttempt, 2)
	got := lines()
	if len(got) != 1 {
		t.Fatalf("got %d lines, want 1", len(got))
	}
	if keys := slices.Sorted(maps.Keys(got[0])); !slices.Equal(keys, []string{"collector", "g", "level", "msg", "time"}) {
		t.Errorf("got keys %v, want collector, g, level, msg, time", keys)
	}
	if got[0]["level"] != "INFO" || got[0]["msg"] != "chunk sent" || got[0]["collector"] != "cpu" {
		t.Errorf("got %v", got[0])
	}
	text, _ := got[0]["time"].(string)
	stamp, err := time.Parse(time.RFC3339Nano, text)
	if err != nil || !strings.HasSuffix(text, "Z") {
		t.Errorf("got time %q (%v), want RFC 3339 in UTC", text, err)
	}
	if stamp.Before(before.Round(0)) || stamp.After(time.Now()) {
		t.Errorf("got time %v, want the time of the call", stamp)
	}
}

// TestNew_UTC gives the handler a record of another zone: the machine of the test may well live in
// UTC.
func TestNew_UTC(t *testing.T) {
	t.Parallel()
	log, lines := newJSON(t)
	at := time.Date(2026, 11, 23, 1, 30, 0, 123456789, time.FixedZone("", 2*3600))
	for _, h := range []slog.Handler{log.Handler(), log.With("a", 1).Handler(), log.WithGroup("g").Handler()} {
		if err := h.Handle(t.Context(), slog.NewRecord(at, slog.LevelInfo, "m", 0)); err != nil {
			t.Fatal(err)
		}
	}
	for _, line := range lines() {
		if want := "2026-11-22T23:30:00.123456789Z"; line["time"] != want {
			t.Errorf("got %v, want %s", line["time"], want)
		}
	}
}

func TestNew_Levels(t *testing.T) {
	t.Parallel()
	f := func(level string, want ...string) {
		t.Helper()
		for _, format := range []string{"json", "console"} {
			var buf bytes.Buffer
			log, err := New(&buf, level, format)
			if err != nil {
				t.Fatal(err)
			}
			log.Debug("one")
			log.Info("two")
			log.Warn("three")
			log.Error("four")
			for _, word := range []string{"one", "two", "three", "four"} {
				if got := strings.Contains(buf.String(), word); got != slices.Contains(want, word) {
					t.Errorf("%s, %s: got %q, want the lines %v", level, format, buf.String(), want)
				}
			}
		}
	}
	f("debug", "one", "two", "three", "four")
	f("info", "two", "three", "four")
	f("warn", "three", "four")
	f("error", "four")
}

func TestNew_BadArguments(t *testing.T) {
	t.Parallel()
	f := func(level, format, want string) {
		t.Helper()
		if _, err := New(io.Discard, level, format); err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	f("loud", "json", `log level "loud": use debug, info, warn or error`)
	f("", "json", `log level "": use debug, info, warn or error`)
	f("INFO", "json", `log level "INFO": use debug, info, warn or error`)
	f("info", "xml", `log format "xml": use json or console`)
}

func TestNew_Console(t *testing.T) {
	t.Parallel()
	var buf bytes.Buffer
	log, err := New(&buf, "info", "console")
	if err != nil {
		t.Fatal(err)
	}
	log.Warn("upload failed", Err(errors.New("bad answer \x1b[2J\xff end")), KeyAttempt, 1)
	stamp, rest, _ := strings.Cut(buf.String(), " WRN ")
	if _, err := time.Parse("2006-01-02 15:04:05.000", stamp); err != nil {
		t.Errorf("time: %v", err)
	}
	if want := "upload failed error=\"bad answer \\x1b[2J\\xff end\" error_type=error attempt=1\n"; rest != want {
		t.Errorf("got  %q\nwant %q", rest, want)
	}
}

func TestColour_NotOnFiles(t *testing.T) {
	t.Parallel()
	file, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for _, w := range []io.Writer{file, new(bytes.Buffer), new(Secrets).Writer(file)} {
		if colour(w, func(string) string { return "" }) {
			t.Errorf("%T: got colour, want none", w)
		}
	}
}
