package victoria

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// authority signs certificates for a test.
type authority struct {
	t    testing.TB
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
}

func newAuthority(t testing.TB) *authority {
	a := &authority{t: t}
	a.key, a.cert, a.pem = a.make("authority", nil)
	return a
}

// make signs a certificate; without a parent it signs itself.
func (a *authority) make(name string, parent *authority) (*ecdsa.PrivateKey, *x509.Certificate, []byte) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()),
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		IsCA:        parent == nil, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	issuer, signer := template, key
	if parent != nil {
		issuer, signer = parent.cert, parent.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, issuer, &key.PublicKey, signer)
	if err != nil {
		a.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return key, cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// issue returns a certificate and its key in PEM form.
func (a *authority) issue(name string) (certPEM, keyPEM []byte) {
	a.t.Helper()
	key, _, certPEM := a.make(name, a)
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	return certPEM, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der})
}

// serveTLS starts a server that tells the name in the client's certificate by
// its status: 204 for want, 403 for another.
func (a *authority) serveTLS(clients *authority, want func() string) *httptest.Server {
	a.t.Helper()
	certPEM, keyPEM := a.issue("server")
	cert, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		a.t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if clients != nil && r.TLS.PeerCertificates[0].Subject.CommonName != want() {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	}))
	s.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
	if clients != nil {
		s.TLS.ClientCAs = x509.NewCertPool()
		s.TLS.ClientCAs.AddCert(clients.cert)
		s.TLS.ClientAuth = tls.RequireAndVerifyClientCert
	}
	s.Config.ErrorLog = quiet
	s.StartTLS()
	a.t.Cleanup(s.Close)
	return s
}

// put writes a file in one step with a time of its own, as whoever replaces a
// certificate should.
func put(t testing.TB, path string, text []byte, modified time.Time) {
	t.Helper()
	if err := os.WriteFile(path+".new", text, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(path+".new", modified, modified); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

func TestTLS_CAFileIsReadAgain(t *testing.T) {
	t.Parallel()
	right, wrong := newAuthority(t), newAuthority(t)
	s := right.serveTLS(nil, nil)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	start := time.Now().Add(-time.Hour)
	put(t, ca, wrong.pem, start)
	c := newClient(t, Config{URL: s.URL + "/api/v1/import", TLS: TLSFiles{CAFile: ca}})

	_, err := c.Import(t.Context(), []byte("body"), "id")
	wantError(t, err, ClassNetwork, 0, false)
	if !strings.Contains(err.Error(), "certificate") {
		t.Error(err)
	}
	put(t, ca, right.pem, start.Add(time.Second))
	if _, err := c.Import(t.Context(), []byte("body"), "id"); err != nil {
		t.Fatal(err)
	}
	// While the file is broken or gone the old one serves.
	put(t, ca, right.pem[:100], start.Add(2*time.Second))
	if _, err := c.Import(t.Context(), []byte("body"), "id"); err != nil {
		t.Error(err)
	}
	if err := os.Remove(ca); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Import(t.Context(), []byte("body"), "id"); err != nil {
		t.Error(err)
	}
	put(t, ca, wrong.pem, start.Add(3*time.Second))
	_, err = c.Import(t.Context(), []byte("body"), "id")
	wantError(t, err, ClassNetwork, 0, false)
}

func TestTLS_ClientCertificateIsReadAgain(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	want := "first"
	s := a.serveTLS(a, func() string { return want })
	dir := t.TempDir()
	files := TLSFiles{filepath.Join(dir, "ca.pem"), filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")}
	start := time.Now().Add(-time.Hour)
	install := func(name string, at time.Time) {
		cert, key := a.issue(name)
		put(t, files.CertFile, cert, at)
		put(t, files.KeyFile, key, at)
	}
	put(t, files.CAFile, a.pem, start)
	install("first", start)
	c := newClient(t, Config{URL: s.URL + "/api/v1/import", TLS: files})
	if _, err := c.Import(t.Context(), []byte("body"), "id"); err != nil {
		t.Fatal(err)
	}
	install("second", start.Add(time.Second))
	want = "second"
	if _, err := c.Import(t.Context(), []byte("body"), "id"); err != nil {
		t.Error(err)
	}

	none := newClient(t, Config{URL: s.URL + "/api/v1/import", TLS: TLSFiles{CAFile: files.CAFile}})
	// In TLS 1.3 the client learns of it when it is already sending, or by a reset.
	if _, err := none.Import(t.Context(), []byte("body"), "id"); err == nil {
		t.Error("the server took a client without a certificate")
	}
}

func TestTLS_Faults(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := func(name, text string) string {
		p := filepath.Join(dir, name)
		put(t, p, []byte(text), time.Now())
		return p
	}
	a, b := newAuthority(t), newAuthority(t)
	cert, _ := a.issue("a")
	_, otherKey := b.issue("b")
	f := func(files TLSFiles, want string) {
		t.Helper()
		_, err := New(Config{URL: "https://h/api/v1/import", TLS: files})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", files, err, want)
		}
	}
	f(TLSFiles{CAFile: dir + "/none"}, "remote.tls.ca_file: open")
	f(TLSFiles{CAFile: path("empty", "")}, "contains no certificate")
	f(TLSFiles{CertFile: path("cert", string(cert))}, "belong together")
	f(TLSFiles{KeyFile: path("key", string(otherKey))}, "belong together")
	f(TLSFiles{CertFile: path("cert", string(cert)), KeyFile: path("key", string(otherKey))}, "remote.tls.cert_file, key_file: ")
}

// TestTLS_Resumed: a further connection to the server continues the session of the last one, which
// takes no certificates, and the key exchange is short.
func TestTLS_Resumed(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	resumed := make(chan bool, 2)
	server := ca.serveTLS(nil, nil)
	answer := server.Config.Handler
	server.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		resumed <- r.TLS.DidResume
		answer.ServeHTTP(w, r)
	})
	caFile := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(caFile, ca.pem, 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := New(Config{URL: server.URL + "/api/v1/import", TLS: TLSFiles{CAFile: caFile}})
	if err != nil {
		t.Fatal(err)
	}
	var took [2]int64
	for i := range took {
		if _, err := c.Import(t.Context(), []byte("x"), "id"); err != nil {
			t.Fatal(err)
		}
		sent, received := c.Wire()
		took[i] = sent + received
		if i == 1 {
			took[1] -= took[0]
		}
		if got := <-resumed; got != (i == 1) {
			t.Errorf("connection %d: resumed %v", i+1, got)
		}
		c.Close()
	}
	t.Logf("the first connection took %d bytes, the second %d", took[0], took[1])
	if took[1] > 1500 {
		t.Errorf("the second connection took %d bytes, want at most 1500", took[1])
	}
}
