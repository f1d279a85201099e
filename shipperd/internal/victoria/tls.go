package victoria

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"os"
	"time"

	"belabox-metrics/shared/datafile"
)

// TLSFiles are PEM files. They are read again when they change.
type TLSFiles struct {
	CAFile            string // replaces the system's CAs, "" = those
	CertFile, KeyFile string // the client's certificate; both or none
}

// stamp identifies the version of a file that was read.
type stamp struct {
	modified time.Time
	size     int64
}

func (f TLSFiles) stamps() (stamps [3]stamp) {
	for i, path := range []string{f.CAFile, f.CertFile, f.KeyFile} {
		if path == "" {
			continue
		}
		if info, err := os.Stat(path); err == nil {
			stamps[i] = stamp{info.ModTime(), info.Size()}
		}
	}
	return stamps
}

func (f TLSFiles) load() (*tls.Config, error) {
	// Uploads that are further apart than idleTimeout need a connection each. With the cache it
	// transfers no certificates, and without X25519MLKEM768, which Go offers by default, no keys of
	// 1 kB: hundreds of bytes instead of thousands (docs/decisions/0017-shared-requests.md).
	cfg := &tls.Config{
		MinVersion: tls.VersionTLS12, ClientSessionCache: tls.NewLRUClientSessionCache(4),
		CurvePreferences: []tls.CurveID{tls.X25519, tls.CurveP256, tls.CurveP384, tls.CurveP521},
	}
	var faults []error
	if f.CAFile != "" {
		pem, err := datafile.ReadNamed(f.CAFile, maxPEM)
		cfg.RootCAs = x509.NewCertPool()
		if err != nil {
			faults = append(faults, fmt.Errorf("remote.tls.ca_file: %w", err))
		} else if !cfg.RootCAs.AppendCertsFromPEM(pem) {
			faults = append(faults, fmt.Errorf("remote.tls.ca_file: %q contains no certificate in PEM form", f.CAFile))
		}
	}
	switch {
	case (f.CertFile == "") != (f.KeyFile == ""):
		faults = append(faults, errors.New("remote.tls: cert_file and key_file belong together"))
	case f.CertFile != "":
		cert, err := loadPair(f.CertFile, f.KeyFile)
		if err != nil {
			faults = append(faults, fmt.Errorf("remote.tls.cert_file, key_file: %w", err))
		}
		cfg.Certificates = []tls.Certificate{cert}
	}
	return cfg, errors.Join(faults...)
}

// maxPEM is several times the size of a system's CAs.
const maxPEM = 4 << 20

func loadPair(certFile, keyFile string) (cert tls.Certificate, err error) {
	certPEM, err := datafile.ReadNamed(certFile, maxPEM)
	if err != nil {
		return cert, err
	}
	keyPEM, err := datafile.ReadNamed(keyFile, maxPEM)
	if err != nil {
		return cert, err
	}
	return tls.X509KeyPair(certPEM, keyPEM)
}

// makeTransport reads the TLS files.
func (c *Client) makeTransport() error {
	stamps := c.cfg.TLS.stamps() // taken first: a change while reading shows next time
	cfg, err := c.cfg.TLS.load()
	if err != nil {
		return err
	}
	if c.transport != nil {
		c.transport.CloseIdleConnections()
	}
	c.transport, c.stamps = c.newTransport(cfg), stamps
	return nil
}

// current returns the transport for a request, a new one if TLS files changed. If the files
// cannot be read, because they are just being replaced, the old transport stays in use.
func (c *Client) current() http.RoundTripper {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cfg.TLS.stamps() != c.stamps {
		_ = c.makeTransport()
	}
	return c.transport
}
