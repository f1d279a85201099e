package daemon

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"belabox-metrics/shared/config"
	"belabox-metrics/shared/lock"
)

// result is what a run of a program left behind.
type result struct {
	code           int
	stdout, stderr string
}

func (p Program) try(args ...string) result {
	var stdout, stderr bytes.Buffer
	code := p.Main(args, &stdout, &stderr)
	return result{code, stdout.String(), stderr.String()}
}

// configFile writes a configuration whose database is in a folder of the test.
func configFile(t *testing.T, extra string) (path, db string) {
	t.Helper()
	dir := t.TempDir()
	path, db = filepath.Join(dir, "config.yaml"), filepath.Join(dir, "metrics.db")
	if err := os.WriteFile(path, []byte("storage: {path: "+db+"}\n"+extra), 0o600); err != nil {
		t.Fatal(err)
	}
	return path, db
}

func failing(err error) Program {
	return Program{Name: "testd", Serve: func(context.Context, Env) error { return err }}
}

func TestMain_ExitCodes(t *testing.T) {
	t.Parallel()
	path, _ := configFile(t, "")
	broken, _ := configFile(t, "collection: {interval: 5}\nremote: {urll: x}\n")
	for _, c := range []struct {
		what    string
		program Program
		args    []string
		code    int
		stdout  string
		stderr  string
	}{
		{"served to the end", failing(nil), []string{"-config", path}, ExitOK, "", ""},
		{"failed", failing(errors.New("disk on fire")), []string{"-config", path}, ExitFailure, "", "disk on fire"},
		{"said it all", failing(ErrSilent), []string{"-config", path}, ExitFailure, "", ""},
		{"used wrongly", failing(&UsageError{"one argument too many"}), []string{"-config", path}, ExitUsage, "", "one argument too many"},
		{"no such file", failing(nil), []string{"-config", path + ".no"}, ExitUsage, "", path + ".no"},
		{"faults", failing(nil), []string{"-config", broken}, ExitUsage, "", "remote.urll"},
		{"faults, all", failing(nil), []string{"-config", broken}, ExitUsage, "", "collection.interval"},
		{"check of faults", failing(nil), []string{"-check-config", "-config", broken}, ExitUsage, "", "remote.urll"},
		{"check", failing(errors.New("must not run")), []string{"-check-config", "-config", path}, ExitOK, "fine: " + path, ""},
		{"unknown flag", failing(nil), []string{"-frobnicate"}, ExitUsage, "", "-frobnicate"},
		{"unknown command", failing(nil), []string{"frobnicate"}, ExitUsage, "", "frobnicate"},
		{"version", failing(nil), []string{"-version"}, ExitOK, "testd ", ""},
		{"help", failing(nil), []string{"-help"}, ExitOK, "-check-config", ""},
		{"a flag switched off", Program{Name: "testd", Serve: failing(nil).Serve, Commands: []Command{{Name: "-once"}}}, []string{"-config", path, "-once=false"}, ExitOK, "", ""},
		{"a flag that is none", Program{Name: "testd", Commands: []Command{{Name: "-once"}}}, []string{"-once=maybe"}, ExitUsage, "", "-once"},
		{"defaults", failing(nil), []string{"-print-config"}, ExitOK, string(config.DefaultYAML()), ""},
	} {
		got := c.program.try(c.args...)
		if got.code != c.code || !strings.Contains(got.stdout, c.stdout) || !strings.Contains(got.stderr, c.stderr) {
			t.Errorf("%s: got %+v, want code %d, stdout with %q, stderr with %q", c.what, got, c.code, c.stdout, c.stderr)
		}
		if c.stderr == "" && c.code != ExitFailure && strings.Contains(got.stderr, "ERROR") {
			t.Errorf("%s: unexpected error in the log: %s", c.what, got.stderr)
		}
	}
}

func TestFileToRead(t *testing.T) {
	t.Parallel()
	packaged, _ := configFile(t, "")
	beneath := filepath.Join(packaged, "config.yaml") // of which one cannot even ask
	for _, c := range []struct{ given, packaged, want string }{
		{"mine.yaml", packaged, "mine.yaml"},
		{"", packaged, packaged},
		{"", packaged + ".none", ""},
		{"", filepath.Join(packaged+".none", "config.yaml"), ""},
		{"", beneath, beneath},
	} {
		if got := fileToRead(c.given, c.packaged); got != c.want {
			t.Errorf("given %q, packaged %q: got %q, want %q", c.given, c.packaged, got, c.want)
		}
	}
}

func TestStopped(t *testing.T) {
	t.Parallel()
	told, cancel := context.WithCancel(t.Context())
	cancel()
	fire := errors.New("disk on fire")
	starting := fmt.Errorf("open store: %w", context.Canceled)
	for _, c := range []struct {
		what      string
		ctx       context.Context
		err, want error
	}{
		{"served to the end", told, nil, nil},
		{"told to stop while starting", told, starting, nil},
		{"told to stop, and failed", told, fire, fire},
		{"failed", t.Context(), fire, fire},
		{"cancelled by nobody", t.Context(), starting, starting},
	} {
		env := Env{Log: slog.New(slog.DiscardHandler)}
		if got := failing(nil).stopped(c.ctx, env, c.err); !errors.Is(got, c.want) || (got == nil) != (c.want == nil) {
			t.Errorf("%s: got %v, want %v", c.what, got, c.want)
		}
	}
}

func TestMain_PanicIsLoggedAndTheLockReleased(t *testing.T) {
	t.Parallel()
	path, db := configFile(t, "")
	p := Program{Name: "testd", Serve: func(context.Context, Env) error { panic("index out of bounds, say") }}
	got := p.try("-config", path)
	for _, want := range []string{"index out of bounds, say", `"stack":`, "daemon_test.go"} {
		if !strings.Contains(got.stderr, want) {
			t.Errorf("the log lacks %q: %s", want, got.stderr)
		}
	}
	if got.code != ExitFailure {
		t.Errorf("code %d, want %d", got.code, ExitFailure)
	}
	held, err := lock.Acquire(db + ".testd.lock")
	if err != nil {
		t.Fatalf("the lock after the panic: %v", err)
	}
	if err := held.Release(); err != nil {
		t.Error(err)
	}
}

func TestMain_Lock(t *testing.T) {
	t.Parallel()
	path, db := configFile(t, "")
	held, err := lock.Acquire(db + ".testd.lock")
	if err != nil {
		t.Fatal(err)
	}
	defer held.Release() //nolint:errcheck // the test ends
	ran := false
	run := func(context.Context, Env) error { ran = true; return nil }
	p := Program{Name: "testd", Serve: run, Commands: []Command{{Name: "-once", Locked: true, Run: run}, {Name: "look", Run: run}}}
	for _, args := range [][]string{{"-config", path}, {"-config", path, "-once"}} {
		if got := p.try(args...); got.code != ExitFailure || ran || !strings.Contains(got.stderr, "is held by process") {
			t.Errorf("%v while another copy runs: %+v, ran %v", args, got, ran)
		}
	}
	if got := p.try("-config", path, "look"); got.code != ExitOK || !ran {
		t.Errorf("a command without the lock: %+v, ran %v", got, ran)
	}
}

// The folder of the database is made before the lock is taken in it.
func TestMain_MakesTheFolder(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "config.yaml")
	if err := os.WriteFile(path, []byte("storage: {path: "+filepath.Join(dir, "not", "yet", "metrics.db")+"}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := failing(nil).try("-config", path); got.code != ExitOK {
		t.Errorf("got %+v", got)
	}
}

func TestMain_CommandArguments(t *testing.T) {
	t.Parallel()
	path, db := configFile(t, "")
	for _, args := range [][]string{
		{"-config", path, "look", "-since", "24h", "here"},
		{"look", "-since", "24h", "-config", path, "here"},
		{"look", "-since", "24h", "here", "--config", path},
		{"look", "-config=" + path, "-since", "24h", "here"},
	} {
		var got Env
		p := Program{Name: "testd", Commands: []Command{{Name: "look", Run: func(_ context.Context, env Env) error { got = env; return nil }}}}
		if r := p.try(args...); r.code != ExitOK {
			t.Errorf("%v: %+v", args, r)
		}
		if strings.Join(got.Args, " ") != "-since 24h here" || got.Config.Storage.Path != db {
			t.Errorf("%v: the command got %q and database %q", args, got.Args, got.Config.Storage.Path)
		}
	}
	p := Program{Name: "testd", Commands: []Command{{Name: "look"}}}
	if r := p.try("look", "-config"); r.code != ExitUsage || !strings.Contains(r.stderr, "needs an argument") {
		t.Errorf("-config without a file: %+v", r)
	}
}

func TestMain_SecretsStayOutOfTheLog(t *testing.T) {
	t.Parallel()
	path, _ := configFile(t, "")
	p := Program{Name: "testd", Serve: func(_ context.Context, env Env) error {
		env.Secrets.Add("hunter2-token")
		env.Log.Info("sent", "header", "Bearer hunter2-token")
		return errors.New("refused with hunter2-token")
	}}
	if got := p.try("-config", path); strings.Contains(got.stderr, "hunter2") || !strings.Contains(got.stderr, "[redacted]") {
		t.Errorf("the log: %s", got.stderr)
	}
}
