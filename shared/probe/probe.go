// Package probe connects to a port of this project on this machine: as the health check of a
// container without a shell, and for the doctor.
package probe

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"
)

// timeout bounds one question. Docker's own limit in the Dockerfiles is 5 s.
const timeout = 3 * time.Second

// answerMost is how much of an answer is read. Another program may listen where the daemon should.
const answerMost = 64 << 10

// StatusError is an answer other than 200.
type StatusError struct {
	Status int
	Body   string // its beginning
}

func (e *StatusError) Error() string {
	return strings.TrimSpace(fmt.Sprintf("answered %d %s: %s", e.Status, http.StatusText(e.Status), e.Body))
}

// Get sends a request to the program that listens on addr (host:port as it is configured; without a
// host on the loopback address) and returns the beginning of an answer of 200. Any other answer is
// a *StatusError.
//
// It does without http.Client: collectord has none and needs none.
func Get(ctx context.Context, addr, path string) (body string, err error) {
	target, err := Reachable(addr)
	if err != nil {
		return "", err
	}
	fail := func(err error) (string, error) { return "", fmt.Errorf("get http://%s%s: %w", target, path, err) }
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", target)
	if err != nil {
		return fail(err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	if _, err := fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", path, target); err != nil {
		return fail(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(io.LimitReader(conn, answerMost)), nil)
	if err != nil {
		return fail(err)
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 500))  // the status is what counts
	body = strings.Join(strings.Fields(string(text)), " ") // on one line
	if resp.StatusCode != http.StatusOK {
		return fail(&StatusError{resp.StatusCode, body})
	}
	return body, nil
}

// Reachable returns the address to connect to for one to listen on: 0.0.0.0, :: and no host mean
// all addresses, also those of IPv4, and without IPv6 there is no ::1 (sysctl disable_ipv6).
func Reachable(addr string) (string, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return "", err
	}
	if ip, err := netip.ParseAddr(host); host == "" || err == nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port), nil
}
