package victoria

import (
	"bytes"
	"context"
	"crypto/tls"
	"net/http"
	"net/http/httptrace"
	"slices"
	"sync"
	"time"

	"github.com/klauspost/compress/gzip"
)

// ProbeMetric is the series that "doctor -probe" writes. It has no rows in the file.
const ProbeMetric = "belabox_doctor_probe"

// Stage is how far a Probe came.
type Stage string

// The stages, in their order.
const (
	StageSettings Stage = "settings" // a file with a secret cannot be used: nothing was sent
	StageName     Stage = "name"     // the host name was not resolved
	StageConnect  Stage = "connect"  // no connection
	StageTLS      Stage = "tls"      // the TLS handshake failed
	StageAnswer   Stage = "answer"   // there is a connection but no good answer
	StageDone     Stage = "done"     // the server took the request
)

// Probe is what one import without a sample shows about the path to the server.
type Probe struct {
	Stage     Stage    // that failed, or StageDone
	Host      string   // whose name was resolved, "" for an address; a proxy's where there is one
	Addresses []string // of Host
	Remote    string   // host:port of the other end of the connection, "" = none
	TLS       string   // version, "" = none
	CertEnds  time.Time
	Status    int           // of the answer, 0 = none
	RoundTrip time.Duration // from the open connection to the first byte of the answer
	// Date is the time of the server when it sent the answer, in whole seconds. Zero if the answer
	// has none or comes from a cache.
	Date time.Time
}

// Probe posts a body without lines to the import address, which stores nothing, and returns how
// far it came. A failure is of type *Error; the Probe is filled in then, too.
func (c *Client) Probe(ctx context.Context) (Probe, error) {
	var empty bytes.Buffer
	if err := gzip.NewWriter(&empty).Close(); err != nil {
		return Probe{Stage: StageSettings}, err
	}
	var way way
	header := http.Header{"Content-Type": {"application/json"}, "Content-Encoding": {"gzip"}}
	x, err := c.begin(httptrace.WithClientTrace(ctx, way.trace()), "import to", http.MethodPost, c.importURL, header, empty.Bytes(), true)
	defer x.end()
	if err == nil {
		_, err = x.imported()
	}
	p := way.end(err == nil, c.importURL.Scheme == "https")
	if x.resp != nil {
		p.Status = x.resp.StatusCode
		date, bad := http.ParseTime(x.resp.Header.Get("Date"))
		if bad == nil && x.resp.Header.Get("Age") == "" {
			p.Date = date
		}
	}
	return p, err
}

// way notes what happens to a request. Its hooks may still be called after the
// request has ended.
type way struct {
	mu         sync.Mutex
	probe      Probe
	resolving  bool // begun, or failed
	dialling   bool
	connected  bool
	handshakes bool      // begun, or failed
	got        bool      // the connection is there, TLS and all
	ready      time.Time // when the request could be written
}

func (w *way) trace() *httptrace.ClientTrace {
	note := func(f func()) {
		w.mu.Lock()
		defer w.mu.Unlock()
		f()
	}
	return &httptrace.ClientTrace{
		DNSStart: func(i httptrace.DNSStartInfo) { note(func() { w.probe.Host, w.resolving = i.Host, true }) },
		DNSDone: func(i httptrace.DNSDoneInfo) {
			note(func() {
				w.resolving = i.Err != nil
				for _, a := range i.Addrs {
					w.probe.Addresses = append(w.probe.Addresses, a.String())
				}
			})
		},
		ConnectStart: func(string, string) { note(func() { w.dialling = true }) },
		ConnectDone: func(_, addr string, err error) {
			note(func() {
				if err == nil {
					w.connected, w.probe.Remote = true, addr
				}
			})
		},
		TLSHandshakeStart: func() { note(func() { w.handshakes = true }) },
		TLSHandshakeDone: func(s tls.ConnectionState, err error) {
			note(func() {
				if w.handshakes = err != nil; err != nil {
					return
				}
				w.probe.TLS = tls.VersionName(s.Version)
				for _, cert := range s.PeerCertificates[:min(1, len(s.PeerCertificates))] {
					w.probe.CertEnds = cert.NotAfter
				}
			})
		},
		GotConn:              func(httptrace.GotConnInfo) { note(func() { w.got, w.ready = true, time.Now() }) },
		GotFirstResponseByte: func() { note(func() { w.probe.RoundTrip = time.Since(w.ready) }) },
	}
}

// end says where it ended.
func (w *way) end(ok, https bool) Probe {
	w.mu.Lock()
	defer w.mu.Unlock()
	p := w.probe
	p.Addresses = slices.Clone(p.Addresses)
	switch {
	case ok:
		p.Stage = StageDone
	case w.got:
		p.Stage = StageAnswer
	case w.handshakes:
		p.Stage = StageTLS
	case w.resolving:
		p.Stage = StageName
	case w.dialling, w.connected && https: // a proxy that is there but leads nowhere
		p.Stage = StageConnect
	default:
		p.Stage = StageSettings
	}
	return p
}
