// Package testkit holds what the tests of several packages need: a real
// VictoriaMetrics, a scripted stand-in for it, the project's own binaries,
// child processes, a network that fails on demand, golden files.
//
// It promises that whatever a helper starts ends with the test that started it,
// that nothing listens beyond loopback, and that a missing tool fails the test
// with a message that has the remedy; no helper skips a test.
// Of other packages it imports shared/jsonline and shared/selector alone, and no
// binary may import it.
package testkit

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"testing"
)

// Ports for servers come from below the kernel's ephemeral range (32768 and up
// on Linux, 49152 on macOS): a server that goes away and comes back must not
// find its port taken by the local end of somebody's outgoing connection.
const (
	firstPort = 20000
	lastPort  = 32000
)

// FreeAddr returns a loopback address "127.0.0.1:port" on which nothing listens
// at the moment. Another process may take it before the caller does.
func FreeAddr(t testing.TB) string {
	t.Helper()
	addr, err := freeAddr()
	if err != nil {
		t.Fatal(err)
	}
	return addr
}

func freeAddr() (string, error) {
	var last error
	for range 100 {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", firstPort+rand.IntN(lastPort-firstPort)))
		if err != nil {
			last = err
			continue
		}
		addr := l.Addr().String()
		return addr, l.Close()
	}
	return "", fmt.Errorf("find a free port between %d and %d: %w", firstPort, lastPort, last)
}

var moduleLine = regexp.MustCompile(`(?m)^module belabox-metrics$`)

// ModuleRoot returns the absolute path of the project's checkout, found from the
// working directory upwards (a test runs in its package's directory).
func ModuleRoot(t testing.TB) string {
	t.Helper()
	root, err := moduleRoot()
	if err != nil {
		t.Fatal(err)
	}
	return root
}

func moduleRoot() (string, error) {
	start, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for dir := start; ; dir = filepath.Dir(dir) {
		text, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		switch {
		case err == nil && moduleLine.Match(text):
			return dir, nil
		case err != nil && !errors.Is(err, os.ErrNotExist):
			return "", err
		}
		if dir == filepath.Dir(dir) {
			return "", fmt.Errorf("find the module belabox-metrics: no go.mod of it in %q or above", start)
		}
	}
}
