package doctor

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"io/fs"
	"log"
	"maps"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"belabox-metrics/shared/config"
	"belabox-metrics/shared/lock"
	"belabox-metrics/shared/store"
	"belabox-metrics/shared/testkit"
	"belabox-metrics/shipperd/internal/victoria"
)

func TestDoctor_Healthy(t *testing.T) {
	t.Parallel()
	vm := startVM(t)
	p := healthy(t, vm.ImportURL())
	before := listFolder(t, filepath.Dir(p.cfg.Storage.Path))
	found := p.examine()
	wantRest(t, found)
	names := []string{
		"backlog", "clock", "collectord", "configuration", "connection", "credentials", "database", "dead letters", "deduplication",
		"directory", "disk space", "files", "import", "last chunk", "link", "read-back", "retention", "shipperd", "time", "uploads", "verification",
	}
	if got := slices.Sorted(maps.Keys(found)); !slices.Equal(got, names) {
		t.Errorf("checks: got %q, want %q", got, names)
	}
	if n := len(vm.Stored()); n != 0 {
		t.Errorf("the doctor stored %d samples", n)
	}
	after := listFolder(t, filepath.Dir(p.cfg.Storage.Path))
	after = slices.DeleteFunc(after, func(name string) bool { return strings.HasSuffix(name, "-wal") || strings.HasSuffix(name, "-shm") })
	if !slices.Equal(after, before) {
		t.Errorf("the directory: %q, before %q", after, before)
	}
}

func listFolder(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func TestDoctor_Configuration(t *testing.T) {
	t.Parallel()
	vm := startVM(t)
	p := healthy(t, vm.ImportURL())
	p.cfg.Remote.Enabled = false
	found := p.examine()
	want(t, found, "configuration", Warn, "remote.enabled")
	want(t, found, "connection", Unknown, "remote.enabled is false")
	want(t, found, "import", Unknown, "not checked")
	if n := len(vm.Requests()); n != 0 {
		t.Errorf("%d requests though nothing is to be sent", n)
	}

	p.cfg.Remote.Enabled = true
	want(t, p.examine(), "configuration", OK, "the defaults (no file)")
	p.input = func(in *Input) { in.File = "/etc/some.yaml" }
	want(t, p.examine(), "configuration", OK, "/etc/some.yaml")
}

func TestDoctor_Folder(t *testing.T) {
	t.Parallel()
	p := healthy(t, startVM(t).ImportURL())
	dir := filepath.Dir(p.cfg.Storage.Path)
	f := func(path string, status Status, text string) {
		t.Helper()
		q := *p
		q.cfg.Storage.Path = path
		want(t, q.examine(), "directory", status, text)
	}
	f(filepath.Join(dir, "metrics.db"), OK, dir)
	f(filepath.Join(dir, "none", "metrics.db"), Warn, "does not exist")
	f(filepath.Join(dir, "metrics.db", "metrics.db"), Fail, "is not a directory")
	f(filepath.Join(dir, "metrics.db", "below", "metrics.db"), Fail, "not a directory")
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	f(filepath.Join(dir, "metrics.db"), Fail, "chmod o-w "+dir)
}

func TestDoctor_Files(t *testing.T) {
	t.Parallel()
	p := healthy(t, startVM(t).ImportURL())
	path := p.cfg.Storage.Path
	want(t, p.examine(), "files", OK, "mode 0640")
	if err := os.Chmod(path, 0o666); err != nil {
		t.Fatal(err)
	}
	want(t, p.examine(), "files", Warn, "chmod 640")
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	if os.Getuid() == 0 { // only root can make a file somebody else's
		for _, file := range []string{filepath.Dir(path), path} {
			if err := os.Chown(file, 1234, 1235); err != nil {
				t.Fatal(err)
			}
		}
		want(t, p.examine(), "files", Fail, "run as root: find "+path+".")
		// A second name of a file of another is not given away.
		other := filepath.Join(t.TempDir(), "other")
		if err := errors.Join(os.WriteFile(other, nil, 0o600), os.Link(other, path+".salvage")); err != nil {
			t.Fatal(err)
		}
		want(t, p.examine(), "files", Fail, "mv "+path+".salvage "+path+".salvage.away")
		if err := os.Remove(path + ".salvage"); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, 0o666); err != nil {
			t.Fatal(err)
		}
		for _, s := range []string{"-wal", "-shm", ".collectord.lock", ".shipperd.lock", ".migrate.lock", ".open.lock", ".checkpoint.lock", ".budget.lock"} {
			if err := os.Lchown(path+s, 1234, 1235); err != nil && !errors.Is(err, fs.ErrNotExist) {
				t.Fatal(err)
			}
		}
		want(t, p.examine(), "files", Warn, "setpriv --reuid=1234 --regid=1235 --clear-groups -- chmod 640 "+path)
	}
	// A link, whatever it leads to, is moved and not followed.
	if err := os.Symlink("/etc/passwd", path+".budget.lock"); err != nil {
		t.Fatal(err)
	}
	want(t, p.examine(), "files", Fail, "mv "+path+".budget.lock "+path+".budget.lock.away")
	p.cfg.Storage.Path += ".none"
	want(t, p.examine(), "files", Unknown, "there is no")
}

func TestDoctor_Disk(t *testing.T) {
	t.Parallel()
	p := healthy(t, startVM(t).ImportURL())
	want(t, p.examine(), "disk space", OK, "storage.max_size_mb 512.0 MiB")
	p.cfg.Storage.MaxSizeMB = 1 << 40
	want(t, p.examine(), "disk space", Warn, "lower storage.max_size_mb")
	p.cfg.Storage.Path = "/nowhere/at/all.db"
	want(t, p.examine(), "disk space", Unknown, "no such file")
}

func TestDoctor_Database(t *testing.T) {
	t.Parallel()
	p := healthy(t, startVM(t).ImportURL())
	want(t, p.examine(), "database", OK, "ledger of 3 samples adds up")
	good := p.cfg.Storage.Path

	p.cfg.Storage.Path = filepath.Join(t.TempDir(), "metrics.db")
	found := p.examine()
	want(t, found, "database", Warn, "start collectord")
	for _, name := range []string{"backlog", "dead letters"} {
		want(t, found, name, Unknown, "cannot be read")
	}
	if err := os.WriteFile(p.cfg.Storage.Path, []byte(strings.Repeat("garbage", 1000)), 0o640); err != nil {
		t.Fatal(err)
	}
	want(t, p.examine(), "database", Fail, "sets the file aside")

	p.cfg.Storage.Path = good
	p.outbox(func(ctx context.Context, ob *store.Outbox) {
		rows, err := ob.Pending(ctx, 0, 1, nil)
		if err == nil {
			err = ob.MoveToDeadLetters(ctx, []store.Rejection{{Key: rows[0].Key, Reason: "rejected"}})
		}
		if err != nil {
			t.Fatal(err)
		}
	})
	found = p.examine()
	want(t, found, "dead letters", Warn, "1 sample ")
	want(t, found, "backlog", OK, "2 samples pending")
}

func TestDoctor_Daemons(t *testing.T) {
	t.Parallel()
	p := healthy(t, startVM(t).ImportURL())
	want(t, p.examine(), "collectord", Warn, "Start collectord") // it may be restarting
	p.now = func() time.Time { return time.Now().Add(2 * time.Minute) }
	want(t, p.examine(), "collectord", Fail, "Start collectord")
	p.now = nil
	for _, name := range []string{"collectord", "shipperd"} {
		l, err := lock.Acquire(p.cfg.Storage.Path + "." + name + ".lock")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Release() //nolint:errcheck // it ends with the test
	}
	p.outbox(func(context.Context, *store.Outbox) {})
	found := p.examine()
	want(t, found, "collectord", OK, "version 1.0")
	want(t, found, "shipperd", OK, "running as process")
	p.input = func(in *Input) { in.Version = "1.1" }
	found = p.examine()
	want(t, found, "collectord", Warn, "restart collectord: this program is version 1.1")
	want(t, found, "shipperd", Warn, "restart shipperd")
	p.input = nil
	p.now = func() time.Time { return time.Now().Add(time.Hour) }
	want(t, p.examine(), "collectord", Fail, "newest row is 60 min old")
}

func TestDoctor_Connection(t *testing.T) {
	t.Parallel()
	p := healthy(t, "http://"+testkit.FreeAddr(t)+"/api/v1/import")
	afterwards := []string{"credentials", "import", "clock", "read-back", "last chunk", "retention", "deduplication"}
	f := func(status Status, text string) {
		t.Helper()
		found := p.examine()
		want(t, found, "connection", status, text)
		for _, name := range afterwards {
			want(t, found, name, Unknown, "not checked")
		}
		wantRest(t, found, append(afterwards, "connection")...)
	}
	f(Fail, "connection refused")
	f(Fail, "start the server")
	p.cfg.Remote.URL = "http://metrics.invalid/api/v1/import"
	f(Fail, "uses these and /etc/hosts only")
	f(Fail, "getent hosts metrics.invalid")

	quiet := httptest.NewUnstartedServer(http.NotFoundHandler())
	quiet.Config.ErrorLog = log.New(io.Discard, "", 0)
	quiet.StartTLS()
	t.Cleanup(quiet.Close)
	p.cfg.Remote.URL = quiet.URL + "/api/v1/import"
	f(Fail, "remote.tls.ca_file")

	expired := httptest.NewUnstartedServer(http.NotFoundHandler())
	expired.Config.ErrorLog = log.New(io.Discard, "", 0)
	expired.TLS = &tls.Config{Certificates: []tls.Certificate{expiredCert(t)}}
	expired.StartTLS()
	t.Cleanup(expired.Close)
	p.cfg.Remote.URL = expired.URL + "/api/v1/import"
	f(Fail, "If it is right, renew the server's certificate")

	// Nobody has set remote.url.
	p.cfg.Remote.URL = config.Default().Remote.URL
	free := testkit.FreeAddr(t)
	p.input = func(in *Input) {
		in.Client, in.ClientErr = victoria.New(victoria.Config{URL: "http://" + free + "/api/v1/import"})
	}
	f(Fail, "Set `remote.url`")
	p.input = nil

	vm := startVM(t)
	vm.Otherwise(testkit.Hang(testkit.WholeBody, testkit.KeepAll))
	p.cfg.Remote.URL, p.cfg.Remote.Timeout = vm.ImportURL(), 200*time.Millisecond
	f(Fail, "raise remote.timeout")

	p.cfg.Remote.URL = "http://user:hunter2@h/"
	f(Fail, "correct section remote")
	if c := p.examine()["connection"]; strings.Contains(c.Detail, "hunter2") {
		t.Errorf("%q shows the password", c.Detail)
	}
}

func TestDoctor_Credentials(t *testing.T) {
	t.Parallel()
	vm := startVM(t)
	p := healthy(t, vm.ImportURL())
	want(t, p.examine(), "credentials", OK, "none are required")
	vm.RequireToken("hunter2hunter2")
	found := p.examine()
	want(t, found, "credentials", Fail, "set remote.auth_token_file")
	want(t, found, "import", Unknown, "refused the credentials")
	want(t, found, "read-back", Fail, "401")
	want(t, found, "clock", OK, "agrees")

	file := filepath.Join(t.TempDir(), "token")
	write := func(token string, mode os.FileMode) {
		t.Helper()
		if err := os.WriteFile(file, []byte(token), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(file, mode); err != nil {
			t.Fatal(err)
		}
	}
	p.files, p.token = []string{file}, victoria.TokenFile(file)
	for _, c := range []struct {
		token  string
		mode   os.FileMode
		status Status
		text   string
	}{
		{"", 0, Fail, "no such file"},
		{"wrong-token-000", 0o600, Fail, "replace the content of " + file},
		{"hunter2hunter2", 0o644, Fail, "chmod 600"},
		{"hunter2hunter2", 0o600, OK, "read from " + file},
	} {
		if c.mode != 0 {
			write(c.token, c.mode)
		}
		found := p.examine()
		want(t, found, "credentials", c.status, c.text)
		for _, check := range found {
			if c.token != "" && strings.Contains(check.Detail+check.Fix, c.token) {
				t.Errorf("%+v shows the token", check)
			}
		}
		if c.status == OK {
			wantRest(t, found)
		}
	}
}

func TestDoctor_CredentialsOfAnother(t *testing.T) {
	t.Parallel()
	p := healthy(t, startVM(t).ImportURL())
	const credential = "/run/credentials/belabox-shipperd.service/token"
	p.files, p.token = []string{credential}, victoria.TokenFile(credential)
	want(t, p.examine(), "credentials", Fail, "LoadCredential=token:FILE")

	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("hunter2hunter2"), 0o600); err != nil {
		t.Fatal(err)
	}
	p.files, p.token = []string{file}, victoria.TokenFile(file)
	want(t, p.examine(), "credentials", OK, "read from")
}

// expiredCert was valid for an hour, two hours ago.
func expiredCert(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	cert := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-3 * time.Hour), NotAfter: time.Now().Add(-2 * time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, cert, cert, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func TestDoctor_Import(t *testing.T) {
	t.Parallel()
	vm := startVM(t)
	p := healthy(t, vm.ImportURL())
	f := func(step testkit.Step, status Status, text string) {
		t.Helper()
		vm.Then(step)
		found := p.examine()
		want(t, found, "import", status, text)
		want(t, found, "connection", OK, "answers within")
	}
	f(testkit.Accept(), OK, "(204)")
	f(testkit.Answer(503, nil), Fail, "see the log of the server")
	f(testkit.RetryAfter(429, "7"), Warn, "waits for the time in Retry-After")
	f(testkit.RedirectTo("http://elsewhere/login"), Fail, "http://elsewhere")
	f(testkit.RedirectTo("http://elsewhere/login"), Fail, "Log in if the network has a login page")
	f(testkit.Answer(511, nil), Fail, "Log in if the network has a login page")
	f(testkit.Answer(404, nil), Fail, "correct remote.url")
	f(testkit.Step{Status: 400, Body: "The plain HTTP request was sent to HTTPS port"}, Fail, "HTTPS port")
	f(testkit.Step{Status: 200, Body: "<html>log in</html>", Header: http.Header{"Content-Type": {"text/html"}}}, Fail, "Log in if the network has a login page")
	p.cfg.Remote.URL = vm.URL() + "/nosuch/api/v1/import"
	f(testkit.Accept(), Fail, "unsupported path")
}

func TestDoctor_ReadBack(t *testing.T) {
	t.Parallel()
	vm := startVM(t)
	p := healthy(t, vm.ImportURL())
	p.cfg.Remote.Verify.Enabled = false
	want(t, p.examine(), "read-back", Warn, "at least once")
	p.cfg.Remote.Verify.Enabled = true
	vm.ThenRead(testkit.Answer(403, nil))
	want(t, p.examine(), "read-back", Fail, "read access")
	vm.ThenRead(testkit.Step{}, testkit.Answer(404, nil))
	want(t, p.examine(), "read-back", OK, "no queries")
	vm.ThenRead(testkit.Step{}, testkit.Answer(500, nil))
	want(t, p.examine(), "read-back", Warn, "/api/v1/query")
}

// dated answers with a clock that is off.
func dated(t *testing.T, off time.Duration) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.Header().Set("Date", time.Now().Add(off).UTC().Format(http.TimeFormat))
		w.WriteHeader(http.StatusNoContent)
	}))
	t.Cleanup(s.Close)
	return s.URL + "/api/v1/import"
}

func TestDoctor_Clock(t *testing.T) {
	t.Parallel()
	p := healthy(t, "")
	f := func(off time.Duration, status Status, text string) {
		t.Helper()
		p.cfg.Remote.URL = dated(t, off)
		want(t, p.examine(), "clock", status, text)
	}
	f(0, OK, "agrees")
	f(2*time.Second, OK, "agrees")
	f(30*time.Second, Warn, "behind the server's")
	f(-30*time.Second, Warn, "ahead of the server's")
	f(-26*time.Hour, Fail, "ahead of the server's")
	p.insert(time.Now().Add(2*time.Hour), 1)
	f(0, Warn, "1 h 59 min ahead of the clock")
}

func TestDoctor_Cancelled(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	Run(ctx, Input{Config: config.Default(), ClientErr: errors.New("none")}, func(c Check) { t.Errorf("%+v after the end", c) })
}
