package e2e

import (
	"database/sql"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"belabox-metrics/shared/human"
	"belabox-metrics/shared/testkit"
)

// foreign is what others write: control sequences of a terminal, C1, DEL, bidirectional and
// invisible characters, bytes that are no text, and the four characters \x1b, which a program must
// not decode.
const foreign = "FOREIGN\x1b[2J\u009b2J\x7f\u202e\u2066\u200b\ufeff\u3164\ufe0f\xff\\x1b[2J"

// terminal returns the path of a pseudo-terminal, what was written to it so far, and a function
// that waits for the rest.
func terminal(t *testing.T) (path string, text *testkit.Buffer, written func() string) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { master.Close() })
	number, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	path = fmt.Sprintf("/dev/pts/%d", number)
	keep, err := os.OpenFile(path, os.O_RDWR|unix.O_NOCTTY, 0) // the master reads until the last one closes
	if err != nil {
		t.Fatal(err)
	}
	text = &testkit.Buffer{}
	done := make(chan struct{})
	go func() {
		_, _ = io.Copy(text, master) // ends with EIO
		close(done)
	}()
	return path, text, func() string {
		keep.Close()
		<-done
		return text.String()
	}
}

// harmless checks what a program wrote: printable characters, line breaks, and on a terminal the
// colours of the log and the progress of a command.
func harmless(t *testing.T, what, text string) {
	t.Helper()
	if !strings.Contains(text, "FOREIGN") {
		t.Errorf("%s does not show the text at all: %q", what, text)
	}
	text = strings.NewReplacer("\r\n", "\n", "\x1b[0m", "", "\x1b[2m", "", "\x1b[91m", "", "\x1b[92m", "", "\x1b[93m", "", "\r\x1b[K", "").Replace(text)
	for i, r := range text {
		if r != '\n' && r != '\t' && !human.IsPrintable(r) || r == '\uFFFD' && !strings.HasPrefix(text[i:], "\uFFFD") {
			t.Errorf("%s has %U: %q", what, r, text[max(0, i-60):min(len(text), i+60)])
			return
		}
	}
}

// TestHostileTexts has foreign texts in all places that are shown, and looks at all outputs.
func TestHostileTexts(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		w.WriteHeader(http.StatusInternalServerError)
		_, _ = io.WriteString(w, foreign)
	}))
	defer server.Close()
	r := newRig(t, server.URL+"/api/v1/import", nil)
	root := filepath.Join(r.dir, "root")
	if err := os.CopyFS(root, os.DirFS(filepath.Join(testkit.ModuleRoot(t), "collectord/internal/proc/testdata/rk3588"))); err != nil {
		t.Fatal(err)
	}
	name := strings.NewReplacer(" ", "", "\ufeff", "").Replace(foreign)
	const device = "   1       0 %s 10 0 80 10 10 0 80 10 0 10 20 0 0 0 0 0 0\n"
	const netdev = "Inter-|   Receive                                                |  Transmit\n face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n"
	for path, text := range map[string]string{
		"proc/1/net/dev": netdev + name + ": 1 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0\n", "proc/net/dev": netdev + name + ": 1 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0\n",
		"proc/diskstats": fmt.Sprintf(device, name), "sys/class/thermal/thermal_zone0/type": foreign + "\n",
	} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(root, path)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(root, path), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	extra := map[string]string{
		"device":     "id: e2e-hostile\nlabels: {site: FOREIGN}",
		"collection": fmt.Sprintf("interval: 1s\nprocfs_path: %s/proc\nsysfs_path: %s/sys\ncollectors:\n  filesystem: {enabled: false}", root, root),
	}
	for _, format := range []string{"json", "console"} {
		extra["logging"] = "level: debug\nformat: " + format
		r = newRig(t, server.URL+"/api/v1/import", extra)
		// The outputs of a program, to a pipe and to a terminal.
		both := func(bin string, args ...string) {
			t.Helper()
			p := r.start(bin, args...)
			p.Wait(testkit.WaitLimit)
			what, shown := filepath.Base(bin)+" "+strings.Join(args, " "), ""
			if args[0] == "audit" {
				shown = "FOREIGN" // this server gives no time, and without one nothing is compared
			}
			harmless(t, fmt.Sprintf("%.60q to a pipe", what), p.Stdout()+p.Stderr()+shown)
			path, _, written := terminal(t)
			p = testkit.StartProc(t, testkit.Command{Path: bin, Args: append([]string{"-config", r.config}, args...), Output: path, Env: []string{"TERM=xterm", "NO_COLOR="}})
			p.Wait(testkit.WaitLimit)
			harmless(t, fmt.Sprintf("%.60q to a terminal", what), written()+shown)
		}
		path, text, written := terminal(t)
		p := testkit.StartProc(t, testkit.Command{Path: r.bins.Shipperd, Args: []string{"-config", r.config}, Output: path, Env: []string{"TERM=xterm", "NO_COLOR="}})
		collectord := r.start(r.bins.Collectord)
		collectord.WaitLine(testkit.WaitLimit, "collected")
		testkit.Eventually(t, testkit.WaitLimit, "rows of the disk", func() bool {
			return r.count("SELECT count(*) FROM metric_rows WHERE tags LIKE '%FOREIGN%'") > 0
		})
		address := healthAddress(collectord, "collectord")
		for _, path := range []string{"/health", "/api/status", "/api/series?name=network.receive_bytes_per_second&name=thermal.zone_celsius"} {
			_, answer := get(t, address+path)
			harmless(t, path, answer+"FOREIGN")
		}
		testkit.Eventually(t, testkit.WaitLimit, "the server's text in the log", func() bool { return strings.Contains(text.String(), "FOREIGN") })
		collectord.Stop(testkit.WaitLimit)
		p.Stop(testkit.WaitLimit)
		harmless(t, "the log of shipperd on a terminal, "+format, written())
		db, err := sql.Open("sqlite", "file:"+r.db)
		if err != nil {
			t.Fatal(err)
		}
		_, err = db.Exec("INSERT INTO dead_letters (device_id, timestamp_ms, name, tags, value, value_text, value_type, reason, detail, created_ms) VALUES (?1, 1, ?1, ?1, NULL, ?1, 1, ?1, ?1, 1)",
			strings.ToValidUTF8(foreign, "?")+"\nforged\tline")
		db.Close()
		if err != nil {
			t.Fatal(err)
		}
		both(r.bins.Shipperd, "deadletter", "list")
		both(r.bins.Shipperd, "deadletter", "list", "-json")
		both(r.bins.Shipperd, "status")
		both(r.bins.Shipperd, "status", "-json")
		both(r.bins.Shipperd, "doctor")
		both(r.bins.Shipperd, "doctor", "-json")
		both(r.bins.Shipperd, "audit")
		both(r.bins.Shipperd, "deadletter", "retry", foreign)
		both(r.bins.Shipperd, foreign)
		both(r.bins.Collectord, "-"+foreign)
		both(r.bins.Collectord, "-once")
		if err := os.WriteFile(r.config, []byte("device:\n  id: \"FOREIGN\\e[2J\\u202E\"\n  labels: {\"a\\eb\": \"\\u200B\"}\n\"FOREIGN\\e\": 1\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		both(r.bins.Collectord, "-check-config")
		if err := os.WriteFile(r.config, []byte("a: ["+foreign), 0o600); err != nil {
			t.Fatal(err)
		}
		both(r.bins.Shipperd, "-check-config", foreign)
	}
}
