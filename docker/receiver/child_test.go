package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// asReceiver makes the test binary be the receiver: tests start it as a child that can be killed.
const asReceiver = "TEST_AS_RECEIVER"

func TestMain(m *testing.M) {
	if os.Getenv(asReceiver) != "" {
		main() // ends the process
	}
	os.Exit(m.Run())
}

// child is a running receiver.
type child struct {
	cmd  *exec.Cmd
	url  string
	addr string

	mu  sync.Mutex
	log bytes.Buffer
	end chan error
}

func (c *child) logText() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.log.String()
}

func command(t testing.TB, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], args...)
	cmd.Env = append(os.Environ(), asReceiver+"=1")
	return cmd
}

// startChild starts a receiver on a free port and returns when it listens.
func startChild(t testing.TB, db string, args ...string) *child {
	t.Helper()
	return startArgs(t, append([]string{"-listen", "127.0.0.1:0", "-db", db}, args...)...)
}

// startArgs starts a receiver and returns when it listens.
func startArgs(t testing.TB, args ...string) *child {
	t.Helper()
	c := &child{cmd: command(t, args...), end: make(chan error, 1)}
	stderr, err := c.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	listening := make(chan string, 1)
	var reading sync.WaitGroup
	reading.Go(func() {
		defer close(listening)
		addr := regexp.MustCompile(`msg=listening addr=(\S+)`)
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			c.mu.Lock()
			c.log.WriteString(lines.Text() + "\n")
			c.mu.Unlock()
			if m := addr.FindStringSubmatch(lines.Text()); m != nil {
				listening <- m[1]
			}
		}
	})
	go func() {
		reading.Wait()
		c.end <- c.cmd.Wait()
	}()
	addr, ok := <-listening
	if !ok {
		t.Fatalf("receiver did not start: %s", c.logText())
	}
	c.addr, c.url = addr, "http://"+addr
	t.Cleanup(func() { _ = c.cmd.Process.Kill() }) // an error means that it has ended
	return c
}

// stop sends a signal and returns the exit code, -1 after a kill.
func (c *child) stop(t testing.TB, sig syscall.Signal) int {
	t.Helper()
	if err := c.cmd.Process.Signal(sig); err != nil {
		t.Fatal(err)
	}
	return c.wait(t)
}

func (c *child) wait(t testing.TB) int {
	t.Helper()
	select {
	case <-c.end:
	case <-time.After(2 * time.Minute):
		t.Fatalf("receiver did not end: %s", c.logText())
	}
	return c.cmd.ProcessState.ExitCode()
}

// send imports one sample for each of the given milliseconds and returns what was answered.
func (c *child) send(name string, ms ...int) (string, error) {
	var values, times []string
	for _, m := range ms {
		values = append(values, strconv.Itoa(m))
		times = append(times, strconv.FormatInt(1700000000000+int64(m), 10))
	}
	body := fmt.Sprintf(`{"metric":{"__name__":%q},"values":[%s],"timestamps":[%s]}`, name, strings.Join(values, ","),
		strings.Join(times, ","))
	resp, err := http.Post(c.url+"/api/v1/import", "", strings.NewReader(body))
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = errors.New(resp.Status)
	}
	return strings.TrimSpace(string(text)), err
}

// timestamps returns what the receiver holds of a name, counted from 1700000000000.
func (c *child) timestamps(t testing.TB, name string) map[int]bool {
	t.Helper()
	resp, err := http.Get(c.url + "/api/v1/export?match[]=" + name)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("export: %s %s, %v", resp.Status, text, err)
	}
	held := make(map[int]bool)
	_, list, _ := strings.Cut(string(text), `"timestamps":[`)
	for _, ts := range strings.FieldsFunc(list, func(r rune) bool { return r < '0' || r > '9' }) {
		ms, err := strconv.ParseInt(ts, 10, 64)
		n := int(ms - 1700000000000)
		if err != nil || held[n] {
			t.Fatalf("timestamp %s: %v, or it comes twice", ts, err)
		}
		held[n] = true
	}
	return held
}
