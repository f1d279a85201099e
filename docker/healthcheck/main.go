// Command healthcheck asks one address and says by its exit code whether the answer was 200: for the health check of a
// container that has no other program in it.
//
//	healthcheck [-restart] http://127.0.0.1:9100/health/live
//
// Docker marks a container as unhealthy and lets it be. With -restart a daemon that answers 503, which at /health/live means
// that its loop stands still, is ended as systemd's watchdog does it: SIGABRT makes it log what every goroutine does, and
// Docker starts it again. One that does not answer at all is left alone: the machine may merely be slow.
//
// A server that wants TLS, as the receiver does once it has a certificate, is asked again with it. Whose the certificate
// is does not matter: the question is whether the process in the same container answers, and it holds no secret.
package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"os"
	"path"
	"strings"
	"syscall"
	"time"
)

func main() { os.Exit(run(os.Args[1:], os.Stderr)) }

var client = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}} //nolint:gosec // see above

// run returns 0 for an answer of 200 within 3 s, 1 for anything else, 2 for wrong usage.
func run(args []string, stderr io.Writer) int {
	restart := len(args) > 0 && args[0] == "-restart"
	if restart {
		args = args[1:]
	}
	if len(args) != 1 {
		fmt.Fprintln(stderr, "usage: healthcheck [-restart] URL")
		return 2
	}
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	if _, err := http.NewRequestWithContext(ctx, http.MethodGet, args[0], nil); err != nil {
		fmt.Fprintln(stderr, err)
		return 2
	}
	status, text, err := get(ctx, args[0])
	// What net/http's server says, in plain text, to whoever comes without TLS.
	if rest, plain := strings.CutPrefix(args[0], "http://"); plain && status == http.StatusBadRequest && strings.Contains(text, "HTTPS server") {
		status, text, err = get(ctx, "https://"+rest)
	}
	if err != nil {
		fmt.Fprintln(stderr, err)
		return 1
	}
	fmt.Fprintf(stderr, "%d %s %s\n", status, http.StatusText(status), text) // shown by docker inspect
	if restart && status == http.StatusServiceUnavailable {
		if err := abort(); err != nil {
			fmt.Fprintln(stderr, err)
		}
	}
	if status != http.StatusOK {
		return 1
	}
	return 0
}

// procfs and kill are others in tests.
var (
	procfs = "/proc"
	kill   = syscall.Kill
)

// abort ends the daemon of this container, which is process 1 there, and never a process 1 of another name.
func abort() error {
	text, err := os.ReadFile(procfs + "/1/cmdline")
	if err != nil {
		return err
	}
	program, _, _ := strings.Cut(string(text), "\x00")
	if !strings.HasPrefix(path.Base(program), "belabox-") {
		return fmt.Errorf("process 1 is %q and no daemon of this project: not ended", program)
	}
	return kill(1, syscall.SIGABRT)
}

// get returns the status and the beginning of the answer.
func get(ctx context.Context, url string) (status int, text string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, "", err
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(resp.Body, 500)) // the status says enough
	return resp.StatusCode, string(body), nil
}
