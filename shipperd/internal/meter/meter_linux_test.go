package meter

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// space is a network namespace: a thread that stays in it.
type space struct {
	calls chan func()
	tid   int
}

func newSpace(t *testing.T) *space {
	t.Helper()
	s := &space{calls: make(chan func())}
	ready := make(chan error)
	go func() {
		runtime.LockOSThread() // for ever: the thread ends with the goroutine
		s.tid = unix.Gettid()
		ready <- unix.Unshare(unix.CLONE_NEWNET)
		for f := range s.calls {
			f()
		}
	}()
	if err := <-ready; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { close(s.calls) })
	return s
}

// do calls f in the namespace.
func (s *space) do(f func()) {
	done := make(chan struct{})
	s.calls <- func() { defer close(done); f() }
	<-done
}

func (s *space) ip(t *testing.T, args string) {
	t.Helper()
	s.do(func() {
		if out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput(); err != nil {
			t.Fatalf("ip %s: %v: %s", args, err, out)
		}
	})
}

// bytes returns what an interface has sent and received above Ethernet's headers.
func (s *space) bytes(t *testing.T, name string) (sent, received int64) {
	t.Helper()
	var text []byte
	s.do(func() { text, _ = os.ReadFile("/proc/thread-self/net/dev") })
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(strings.TrimSpace(line), name+":"); ok {
			var rx, rxPackets, tx, txPackets, skip int64
			if _, err := fmt.Sscan(rest, &rx, &rxPackets, &skip, &skip, &skip, &skip, &skip, &skip, &tx, &txPackets); err != nil {
				t.Fatal(err)
			}
			return tx - 14*txPackets, rx - 14*rxPackets
		}
	}
	t.Fatalf("no %s in:\n%s", name, text)
	return 0, 0
}

// What the meter counts is what goes over an interface, to some percent: small uploads with a
// connection each, many on one connection, and large ones.
func TestMeter_CountsWhatTheInterfaceDoes(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root may make a network: the meter was compared with a server only, not with an interface")
	}
	device, server := newSpace(t), newSpace(t)
	device.ip(t, fmt.Sprintf("link add va type veth peer name vb netns %d", server.tid))
	// Without offloading: what is one packet for the interface is one on the link.
	device.ip(t, "link set va gso_max_segs 1 up")
	server.ip(t, "link set vb gso_max_segs 1 up")
	device.ip(t, "addr add 192.0.2.1/24 dev va")
	server.ip(t, "addr add 192.0.2.2/24 dev vb")
	var listener net.Listener
	var err error
	server.do(func() { listener, err = net.Listen("tcp", "192.0.2.2:0") })
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = w.Write(make([]byte, 500))
	})}
	go s.Serve(listener) //nolint:errcheck // it is closed
	defer s.Close()      //nolint:errcheck // the test ends

	for name, tc := range map[string]struct {
		requests, size int
		fresh, hidden  bool // a connection each; without the kernel's counts
	}{
		"a connection each":       {50, 700, true, false},
		"one connection":          {50, 700, false, false},
		"large":                   {10, 200_000, false, false},
		"a connection, estimated": {50, 700, true, true},
		"one, estimated":          {50, 700, false, true},
		"large, estimated":        {10, 200_000, false, true},
	} {
		m := New()
		dial := m.Dial(func(ctx context.Context, network, addr string) (c net.Conn, err error) {
			device.do(func() { c, err = (&net.Dialer{}).DialContext(ctx, network, addr) })
			if tc.hidden && err == nil {
				c = wordy{c}
			}
			return c, err
		})
		client := &http.Client{Transport: &http.Transport{DialContext: dial}}
		beforeOut, beforeIn := device.bytes(t, "va")
		for range tc.requests {
			res, err := client.Post("http://"+listener.Addr().String(), "text/plain", io.LimitReader(zeros{}, int64(tc.size)))
			if err != nil {
				t.Fatal(err)
			}
			_, _ = io.Copy(io.Discard, res.Body)
			res.Body.Close() //nolint:errcheck // it was read
			if tc.fresh {
				client.CloseIdleConnections()
			}
		}
		client.CloseIdleConnections()
		gotOut, gotIn := m.Total()
		out, in := settled(t, device, beforeOut, beforeIn)
		ratio := func(got, want int64) float64 { return float64(got) / float64(want) }
		within := 0.03
		if tc.hidden {
			within = 0.25
		}
		t.Logf("%-24s sent %7d of %7d (%.3f), received %6d of %6d (%.3f)", name, gotOut, out, ratio(gotOut, out), gotIn, in, ratio(gotIn, in))
		if r := ratio(gotOut+gotIn, out+in); r < 1-within || r > 1+within {
			t.Errorf("%s: %.3f of what the interface counts", name, r)
		}
		var link string
		device.do(func() { link = Interface(m.Local()) })
		if link != "" && link != "va" { // /sys is of the namespace that it was mounted in
			t.Errorf("%s: the interface is %q", name, link)
		}
	}
}

// settled waits for the last packets.
func settled(t *testing.T, s *space, beforeOut, beforeIn int64) (out, in int64) {
	t.Helper()
	for last := int64(-1); out+in != last; time.Sleep(100 * time.Millisecond) {
		last = out + in
		out, in = s.bytes(t, "va")
		out, in = out-beforeOut, in-beforeIn
	}
	return out, in
}
