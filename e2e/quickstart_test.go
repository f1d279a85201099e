package e2e

import (
	"database/sql"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"belabox-metrics/shared/store/storetest"
	"belabox-metrics/shared/testkit"
)

var (
	loopback    = regexp.MustCompile(`127\.0\.0\.1:\d+`)
	sqliteShell = regexp.MustCompile(`^sqlite3 -readonly (\S+) "(.*)"$`)
)

// TestQuickStart follows the quick start of README.md: what "make run" starts, with the addresses
// that it prints, and each command that is typed while it runs. Curl and the sqlite3 shell are
// replaced by what Go has.
func TestQuickStart(t *testing.T) {
	t.Parallel()
	root := testkit.ModuleRoot(t)
	text, err := os.ReadFile(filepath.Join(root, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, quick, _ := strings.Cut(string(text), "\n## Quick start\n")
	quick, _, _ = strings.Cut(quick, "\n## ")

	dir := t.TempDir()
	linkPrograms(t, root, filepath.Join(dir, "bin"))
	p := testkit.StartProc(t, testkit.Command{Path: filepath.Join(dir, "bin/devrun"), Dir: dir})
	p.WaitLine(testkit.WaitLimit, "All three are running")
	at := strings.NewReplacer(
		"127.0.0.1:9100", loopback.FindString(p.WaitLine(testkit.WaitLimit, "  collectord  http://")),
		"127.0.0.1:9101", loopback.FindString(p.WaitLine(testkit.WaitLimit, "  shipperd    http://")),
	)
	commands := 0
	for line := range strings.Lines(quick) {
		command, _, _ := strings.Cut(line, " # ")
		command, indented := strings.CutPrefix(strings.TrimRight(command, " \n"), "    ")
		if !indented || command == "make run" {
			continue
		}
		commands++
		testkit.Eventually(t, testkit.WaitLimit, command, func() error { return typed(t, dir, at.Replace(command)) })
	}
	if commands < 4 {
		t.Errorf("%d commands: the form of README.md must have changed", commands)
	}
	if code := p.Stop(testkit.WaitLimit); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
	if files, err := os.ReadDir(dir); err != nil || len(files) != 2 {
		t.Errorf("there is more than bin and run: %v, %v", files, err)
	}
}

// linkPrograms fills bin as "make run" does.
func linkPrograms(t *testing.T, root, bin string) {
	t.Helper()
	if err := os.Mkdir(bin, 0o755); err != nil {
		t.Fatal(err)
	}
	bins := testkit.Binaries(t)
	for _, path := range []string{bins.Collectord, bins.Shipperd, bins.Receiver} {
		if err := os.Symlink(path, filepath.Join(bin, filepath.Base(path))); err != nil {
			t.Fatal(err)
		}
	}
	build := exec.CommandContext(t.Context(), "go", "build", "-o", filepath.Join(bin, "devrun"), "./scripts/devrun")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// typed does what a command of README.md does. It fails until the command has a result.
func typed(t *testing.T, dir, command string) error {
	if url, ok := strings.CutPrefix(command, "curl -s "); ok {
		answer, err := http.Get(url)
		if err != nil {
			return err
		}
		defer answer.Body.Close()
		if body, err := io.ReadAll(answer.Body); err != nil || answer.StatusCode != http.StatusOK || len(body) < 100 {
			return fmt.Errorf("%s, %d bytes, %v", answer.Status, len(body), err)
		}
		return nil
	}
	if query := sqliteShell.FindStringSubmatch(command); query != nil {
		rows := 0
		storetest.Query(t, filepath.Join(dir, query[1]), query[2], func(*sql.Rows) error { rows++; return nil })
		if rows != 10 {
			return fmt.Errorf("%d rows, want 10", rows)
		}
		return nil
	}
	args := strings.Fields(command)
	cmd := exec.CommandContext(t.Context(), args[0], args[1:]...)
	cmd.Dir = dir
	out, err := cmd.Output()
	if lines := strings.Count(string(out), "\n"); err != nil || lines < 20 {
		return fmt.Errorf("%d lines, %v", lines, err)
	}
	return nil
}
