package doctor

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"belabox-metrics/shared/config"
	"belabox-metrics/shared/secret"
	"belabox-metrics/shared/store"
	"belabox-metrics/shipperd/internal/human"
	"belabox-metrics/shipperd/internal/victoria"
)

// certSoon is how long before its end a certificate is worth a warning.
const certSoon = 14 * 24 * time.Hour

// connection follows the way to the server: name, connection, TLS.
func (d *doctor) connection(ctx context.Context) Check {
	c := Check{Name: "connection", Status: Fail}
	if !d.Config.Remote.Enabled {
		c.Status, c.Detail = Unknown, "not tried: remote.enabled is false"
		return c
	}
	if d.Client == nil {
		c.Detail, c.Fix = d.ClientErr.Error(), "mend section remote of the configuration"
		return c
	}
	p, err := d.reach(ctx)
	switch p.Stage {
	case victoria.StageSettings:
		c.Status, c.Detail = Unknown, "not tried: "+err.Error()
	case victoria.StageName:
		c.Detail = err.Error()
		c.Fix = fmt.Sprintf("mend the host name in remote.url, or the name resolution of this machine (getent hosts %s)", p.Host)
	case victoria.StageConnect:
		c.Detail = err.Error()
		c.Fix = "start the server, mend host and port in remote.url, or open the way to it (firewall, VPN, HTTPS_PROXY)"
	case victoria.StageTLS:
		c.Detail = err.Error()
		c.Fix = "set remote.tls.ca_file to the CA that signed the server's certificate, renew the certificate, or mend this machine's clock"
	default:
		if p.Status == 0 {
			c.Detail, c.Fix = err.Error(), "see whether the server is overloaded, or raise remote.timeout"
			break
		}
		c.Status, c.Detail = OK, fmt.Sprintf("%s answers within %d ms", p.Remote, p.RoundTrip.Milliseconds())
		if p.TLS != "" {
			c.Detail += ", " + p.TLS
		}
		if left := p.CertEnds.Sub(d.Now()); p.TLS != "" && left < certSoon {
			c.Status, c.Detail = Warn, c.Detail+", its certificate ends in "+human.Duration(left)
			c.Fix = "renew the server's certificate"
		}
	}
	return c
}

func (d *doctor) credentials(ctx context.Context) Check {
	c := Check{Name: "credentials", Status: OK, Detail: "none are sent, and none are asked for"}
	for _, path := range d.Secrets {
		if _, err := victoria.TokenFile(path)(); err != nil {
			c.Status, c.Detail = Fail, err.Error()
			c.Fix = fmt.Sprintf("make it a file with one line that only its owner, the user of shipperd, may read: chmod 600 %s", path)
			if secret.IsCredential(path) {
				c.Fix = "run systemctl edit belabox-shipperd and add LoadCredential=" + filepath.Base(path) + ":FILE to section [Service], then restart it; " +
					"the file is there only while the service runs"
			}
			return c
		}
		if uid, foreign := d.unreadable(path); foreign {
			c.Status, c.Detail = Fail, fmt.Sprintf("%s belongs to another user than the database (%d), so that shipperd cannot read it", path, uid)
			c.Fix = fmt.Sprintf("run: chown %d %s", uid, path)
			return c
		}
		c.Detail = "taken from " + path
	}
	p, err := d.reach(ctx)
	switch {
	case p.Status == 0:
		c.Status, c.Detail = Unknown, notConnected
	case p.Status == http.StatusUnauthorized || p.Status == http.StatusForbidden || p.Status == http.StatusProxyAuthRequired:
		c.Status, c.Detail = Fail, err.Error()
		c.Fix = "set remote.auth_token_file, or remote.basic_auth"
		if len(d.Secrets) > 0 {
			c.Fix = "replace the content of " + d.Secrets[len(d.Secrets)-1] + "; shipperd reads it anew for every request"
		}
		if p.Status == http.StatusProxyAuthRequired {
			c.Fix = "put user and password into HTTP_PROXY or HTTPS_PROXY of the service"
		}
	}
	return c
}

// unreadable tells whether root, who may read all, reads a secret of an owner who is
// not the daemons': the database's owner, uid.
func (d *doctor) unreadable(path string) (uid uint32, foreign bool) {
	file, err := os.Stat(path)
	database, err2 := os.Stat(d.Config.Storage.Path)
	if err != nil || err2 != nil || secret.IsCredential(path) {
		return 0, false // a credential is handed over by systemd, as it sees fit
	}
	mine, _ := owner(file)
	uid, _ = owner(database)
	return uid, uid != 0 && mine != uid
}

// imports says what the server made of a request without a sample.
func (d *doctor) imports(ctx context.Context) Check {
	c := Check{Name: "import", Status: Fail}
	p, err := d.reach(ctx)
	var fault *victoria.Error
	errors.As(err, &fault)
	switch {
	case d.Client == nil || p.Status == 0:
		c.Status, c.Detail = Unknown, notConnected
	case p.Stage == victoria.StageDone:
		c.Status, c.Detail = OK, fmt.Sprintf("the server takes samples (%d)", p.Status)
	case p.Status == http.StatusBadRequest && fault.Class == victoria.ClassRejected && strings.Contains(fault.Body, "no lines"):
		// The project's receiver has read the empty body and minds that it is empty.
		c.Status, c.Detail = OK, "the server takes samples"
	case p.Status == http.StatusUnauthorized || p.Status == http.StatusForbidden || p.Status == http.StatusProxyAuthRequired:
		c.Status, c.Detail = Unknown, "not tried: the credentials are refused"
	case fault.Class == victoria.ClassAuth || fault.Class == victoria.ClassRedirect:
		c.Detail = err.Error()
		c.Fix = "mend remote.url: it ends in /api/v1/import, in a cluster in /insert/<tenant>/prometheus/api/v1/import"
	case fault.Class == victoria.ClassThrottled:
		c.Status, c.Detail, c.Fix = Warn, err.Error(), "the server asks for patience; shipperd waits as long as it says"
	default:
		c.Detail, c.Fix = err.Error(), "see the log of the server; shipperd keeps all samples and goes on trying"
	}
	return c
}

// The clock's error that is no longer only a nuisance, and how far ahead a row may
// be without one.
const (
	skewFail = 5 * time.Minute
	rowAhead = time.Minute
)

// clock compares the clock with the server's, and with the newest row.
func (d *doctor) clock(ctx context.Context) Check {
	c := Check{Name: "clock", Status: OK}
	now := d.Now()
	if file, err := d.open(ctx); err == nil {
		_, newest, ok, err := file.Span(ctx)
		if ahead := time.UnixMilli(newest.TimestampMS()).Sub(now); err == nil && ok && ahead > rowAhead {
			c.Status = Warn
			c.Detail = fmt.Sprintf("the newest row is %s ahead of the clock (%s): one of the two is wrong, or was", human.Duration(ahead), human.Time(now))
			c.Fix = "see that the time is set before collectord starts (chrony, systemd-timesyncd, a clock battery)"
			return c
		}
	}
	p, _ := d.reach(ctx)
	if p.Date.IsZero() {
		c.Status, c.Detail = Unknown, "the server does not tell its time"
		if p.Status == 0 {
			c.Detail = notConnected
		}
		return c
	}
	// The server cuts its time to whole seconds: on average it is half a second later.
	skew := d.probeAt.Sub(p.Date) - p.RoundTrip/2 - time.Second/2
	off := skew.Abs() - p.RoundTrip/2 - time.Second/2 // at least
	limit := time.Duration(d.Config.Monitoring.ClockSkewWarnThresholdMS) * time.Millisecond
	direction := "ahead of"
	if skew < 0 {
		direction = "behind"
	}
	c.Detail = fmt.Sprintf("%s %s the server's", human.Duration(skew.Abs()), direction)
	switch {
	case off > skewFail:
		c.Status, c.Fix = Fail, "set the time (chrony, systemd-timesyncd): samples are stored under wrong times"
	case off > limit:
		c.Status, c.Fix = Warn, "set the time (chrony, systemd-timesyncd)"
	default:
		c.Detail = "agrees with the server's to the second"
	}
	return c
}

// readBack asks for the last minute, as the proof of a delivery does.
func (d *doctor) readBack(ctx context.Context) Check {
	c := Check{Name: "read-back", Status: OK, Detail: "export and query work"}
	switch {
	case !d.Config.Remote.Verify.Enabled:
		c.Status, c.Detail = Warn, "remote.verify.enabled is false: delivery is at least once, and unproven"
		c.Fix = "set remote.verify.enabled: true, if the server may be read"
		return c
	case d.Client == nil || !d.answers(ctx):
		c.Status, c.Detail = Unknown, notConnected
		return c
	}
	sel := victoria.Selector{DeviceID: config.ResolveDeviceID(d.Config, os.ReadFile, os.Hostname)}
	to := d.Now().UnixMilli()
	from := to - time.Minute.Milliseconds()
	err := d.Client.Export(ctx, sel, from, to, func([]store.Tag, []int64) error { return nil })
	if err != nil {
		c.Status, c.Detail = Fail, err.Error()
		c.Fix = "give the credentials read access, or set remote.verify.url to the address that ends in /api/v1/export; without it delivery is unproven"
		return c
	}
	_, err = d.Client.Count(ctx, sel, from, to)
	switch {
	case errors.Is(err, victoria.ErrNotSupported):
		c.Detail = "export works; there are no queries, so that a proof costs more bytes"
	case err != nil:
		c.Status, c.Detail = Warn, err.Error()
		c.Fix = "let the credentials use /api/v1/query: without it a proof costs more bytes"
	}
	return c
}
