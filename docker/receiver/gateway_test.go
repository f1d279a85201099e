package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"belabox-metrics/shared/testkit"
)

func TestRun_Conflicts(t *testing.T) {
	t.Parallel()
	f := func(want string, args ...string) {
		t.Helper()
		var errs bytes.Buffer
		if code := run(t.Context(), args, io.Discard, &errs); code != 2 || !strings.Contains(errs.String(), want) {
			t.Errorf("%q: got %d, %s, want %q", args, code, errs.String(), want)
		}
	}
	const up = "http://127.0.0.1:1/api/v1/import"
	f("-db: nothing is kept here with -upstream", "-upstream", up, "-db", "x")
	f("-retention: nothing is kept here", "-upstream", up, "-retention", "1h")
	f("-upstream-read: means nothing without -upstream", "-upstream-read", up)
	f("-device-rate: means nothing without -tokens", "-device-rate", "1")
	f("-tls-cert: cannot be used without -tls-key", "-tls-cert", "x")
	f("-tls-key: cannot be used without -tls-cert", "-tls-key", "x")
	f("-max-labels: 41 is not 1 to 40", "-max-labels", "41")
	f("-device-rate: NaN is not above 0", "-tokens", "x", "-device-rate", "NaN")
	f("-max-requests: 0 is not above 0", "-max-requests", "0")
	f("-metrics-listen: ", "-metrics-listen", "x")
	f(`-new-token: "a b" is not a device id`, "-new-token", "a b")
}

// startUpstream starts a receiver that passes on.
func startUpstream(t testing.TB, upstream string, args ...string) *child {
	t.Helper()
	return startArgs(t, append([]string{"-listen", "127.0.0.1:0", "-upstream", upstream}, args...)...)
}

// A bad address of the upstream ends the start with all that is wrong.
func TestReceiver_BadUpstream(t *testing.T) {
	t.Parallel()
	out, err := command(t, "-listen", "127.0.0.1:0", "-upstream", "http://u:hunter2@h/", "-upstream-token-file", "/none").CombinedOutput()
	if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != 1 {
		t.Errorf("got %v, want exit code 1", err)
	}
	if text := string(out); !strings.Contains(text, "-upstream:") || !strings.Contains(text, "-upstream-token-file:") || strings.Contains(text, "hunter2") {
		t.Errorf("got %s", text)
	}
}

// newToken runs -new-token and adds its line to a file.
func newToken(t testing.TB, file, device string) string {
	t.Helper()
	var out, errs bytes.Buffer
	if code := run(t.Context(), []string{"-new-token", device}, &out, &errs); code != 0 {
		t.Fatal(errs.String())
	}
	var words []string
	for line := range strings.Lines(out.String()) {
		if !strings.HasPrefix(line, "#") {
			words = append(words, line)
		}
	}
	if len(words) != 2 {
		t.Fatalf("got %s", out.String())
	}
	f, err := os.OpenFile(file, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err == nil {
		_, err = f.WriteString(words[1])
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(words[0])
}

// request posts one sample of a device, now, and returns the status.
func (c *child) request(client *http.Client, token, device string) (int, error) {
	body := fmt.Sprintf(`{"metric":{"__name__":"a","device_id":%q},"values":[1],"timestamps":[%d]}`, device, time.Now().UnixMilli())
	req, err := http.NewRequest("POST", c.url+"/api/v1/import", strings.NewReader(body))
	if err != nil {
		return 0, err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, err
}

// Tokens made with -new-token work at once, are withdrawn without a restart, and /metrics is on its own address only.
func TestReceiver_Tokens(t *testing.T) {
	t.Parallel()
	vm := testkit.StartFakeVM(t, testkit.FakeConfig{})
	file := filepath.Join(t.TempDir(), "tokens")
	d, e := newToken(t, file, "d"), newToken(t, file, "e")
	c := startUpstream(t, vm.ImportURL(), "-tokens", file, "-metrics-listen", "127.0.0.1:0")
	want := func(token, device string, status int) {
		t.Helper()
		testkit.Eventually(t, 10*time.Second, fmt.Sprint("status ", status), func() error {
			got, err := c.request(http.DefaultClient, token, device)
			if err != nil || got != status {
				return fmt.Errorf("got %d, %w", got, err)
			}
			return nil
		})
	}
	want(d, "d", 200)
	want(e, "e", 200)
	want(d, "e", 403)
	want("x", "d", 401)
	f := newToken(t, file, "f")
	want(f, "f", 200)
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	want(d, "d", 401)

	m := regexp.MustCompile(`msg=metrics addr=(\S+)`).FindStringSubmatch(c.logText())
	if m == nil {
		t.Fatalf("no address of the metrics in %s", c.logText())
	}
	for url, status := range map[string]int{"http://" + m[1] + "/metrics": 200, c.url + "/metrics": 404, "http://" + m[1] + "/api/v1/import": 404} {
		resp, err := http.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != status {
			t.Errorf("%s: got %d, want %d", url, resp.StatusCode, status)
		}
	}
	if text := c.logText(); strings.Contains(text, d) || strings.Contains(text, e) {
		t.Errorf("a token is in the log:\n%s", text)
	}
	if code := c.stop(t, syscall.SIGTERM); code != 0 {
		t.Errorf("got exit code %d; %s", code, c.logText())
	}
}

// writeCertificate makes a certificate for 127.0.0.1 with a serial number.
func writeCertificate(t testing.TB, dir string, serial int64) (certFile, keyFile string, pool *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(serial), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	err = errors.Join(os.WriteFile(certFile, certPEM, 0o600),
		os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}), 0o600))
	if err != nil {
		t.Fatal(err)
	}
	pool = x509.NewCertPool()
	pool.AppendCertsFromPEM(certPEM)
	return certFile, keyFile, pool
}

// TLS is spoken, plain HTTP is not, and a new certificate counts without a restart.
func TestReceiver_TLS(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	certFile, keyFile, pool := writeCertificate(t, dir, 1)
	c := startChild(t, newDB(t), "-tls-cert", certFile, "-tls-key", keyFile)
	c.url = "https://" + c.addr
	serial := func(pool *x509.CertPool, least uint16) (int64, error) {
		conn, err := tls.Dial("tcp", c.addr, &tls.Config{RootCAs: pool, MaxVersion: least})
		if err != nil {
			return 0, err
		}
		defer conn.Close()
		return conn.ConnectionState().PeerCertificates[0].SerialNumber.Int64(), nil
	}
	if got, err := serial(pool, tls.VersionTLS13); got != 1 || err != nil {
		t.Errorf("got certificate %d, %v", got, err)
	}
	if _, err := serial(pool, tls.VersionTLS11); err == nil {
		t.Error("TLS 1.1 was accepted")
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}}
	if got, err := c.request(client, "", "d"); got != 200 || err != nil {
		t.Errorf("got %d, %v", got, err)
	}
	if resp, err := http.Get("http://" + c.addr + "/health"); err == nil {
		resp.Body.Close()
		if resp.StatusCode != 400 {
			t.Errorf("plain HTTP: got %d", resp.StatusCode)
		}
	}
	_, _, next := writeCertificate(t, dir, 2)
	testkit.Eventually(t, 10*time.Second, "the new certificate", func() error {
		got, err := serial(next, tls.VersionTLS13)
		if err == nil && got != 2 {
			err = fmt.Errorf("got certificate %d", got)
		}
		return err
	})
	if code := c.stop(t, syscall.SIGTERM); code != 0 {
		t.Errorf("got exit code %d; %s", code, c.logText())
	}
}

// Files that did not fit each other are tried again, though their times say nothing new.
func TestCertificate_Mended(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	certFile, keyFile, _ := writeCertificate(t, dir, 1)
	c, err := newCertificate(certFile, keyFile, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	writeCertificate(t, dir, 2)
	good, err := os.ReadFile(keyFile)
	if err != nil {
		t.Fatal(err)
	}
	at := time.Now()
	put := func(text string) {
		t.Helper()
		if err := errors.Join(os.WriteFile(keyFile, []byte(text), 0o600), os.Chtimes(keyFile, at, at)); err != nil {
			t.Fatal(err)
		}
	}
	serial := func() int64 {
		t.Helper()
		c.looked = time.Time{} // a second has passed
		now, err := c.current(nil)
		if err != nil {
			t.Fatal(err)
		}
		return now.Leaf.SerialNumber.Int64()
	}
	put("not a key")
	if got := serial(); got != 1 {
		t.Errorf("with a bad key: got certificate %d, want the old one", got)
	}
	put(string(good))
	if got := serial(); got != 2 {
		t.Errorf("mended: got certificate %d, want the new one", got)
	}
}

// Beyond the limit connections wait, and get in when another one ends.
func TestReceiver_Connections(t *testing.T) {
	t.Parallel()
	c := startChild(t, newDB(t), "-max-connections", "2")
	var held []net.Conn
	for range 2 {
		conn, err := net.Dial("tcp", c.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		// An answer shows that it has been let in.
		if _, err := io.WriteString(conn, "GET /health HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		held = append(held, conn)
	}
	third, err := net.Dial("tcp", c.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer third.Close()
	if _, err := io.WriteString(third, "GET /health HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if err := third.SetReadDeadline(time.Now().Add(200 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if n, err := third.Read(make([]byte, 1)); n > 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the third connection got %d bytes, %v", n, err)
	}
	held[0].Close()
	if err := third.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if n, err := third.Read(make([]byte, 1)); n != 1 || err != nil {
		t.Errorf("after one has ended: got %d bytes, %v", n, err)
	}
	if code := c.stop(t, syscall.SIGTERM); code != 0 {
		t.Errorf("got exit code %d; %s", code, c.logText())
	}
}
