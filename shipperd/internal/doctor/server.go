package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"belabox-metrics/shared/config"
	"belabox-metrics/shared/datafile"
	"belabox-metrics/shared/health"
	"belabox-metrics/shared/human"
	"belabox-metrics/shared/secret"
	"belabox-metrics/shared/store"
	"belabox-metrics/shipperd/internal/truetime"
	"belabox-metrics/shipperd/internal/victoria"
)

// certSoon is how long before it expires a certificate is a warning.
const certSoon = 14 * 24 * time.Hour

// connection checks the way to the server: name, connection, TLS.
func (d *doctor) connection(ctx context.Context) Check {
	if !d.Config.Remote.Enabled {
		return unknown("not checked: remote.enabled is false")
	}
	if d.Client == nil {
		return fail(d.ClientErr.Error(), "correct section remote of the configuration")
	}
	p, err := d.reach(ctx)
	switch p.Stage {
	case victoria.StageSettings:
		return unknown("not checked: " + err.Error())
	case victoria.StageName:
		return fail(err.Error(), fmt.Sprintf("correct the host name in remote.url, or the DNS servers in /etc/resolv.conf; shipperd uses these and /etc/hosts only, so that for a name that "+
			"only mDNS or another source of /etc/nsswitch.conf knows (getent hosts %s finds it), add the address to /etc/hosts or write it in remote.url", p.Host))
	case victoria.StageConnect:
		if d.Config.Remote.URL == config.Default().Remote.URL {
			return fail(err.Error(), health.CauseUnset.Remedy)
		}
		return fail(err.Error(), "start the server, correct host and port in remote.url, or open the way to it (firewall, VPN, HTTPS_PROXY)")
	case victoria.StageTLS:
		if fault, ok := errors.AsType[*victoria.Error](err); ok && fault.Reason == victoria.ReasonExpired {
			return fail(err.Error(), health.CauseExpired.Remedy)
		}
		return fail(err.Error(), "set remote.tls.ca_file to the CA that signed the server's certificate, renew the certificate, or set this machine's clock")
	}
	if p.Status == 0 {
		return fail(err.Error(), "check whether the server is overloaded, or raise remote.timeout")
	}
	detail := fmt.Sprintf("%s answers within %d ms", p.Remote, p.RoundTrip.Milliseconds())
	if p.TLS == "" {
		return ok(detail)
	}
	detail += ", " + p.TLS
	if left := p.CertEnds.Sub(d.Now()); left < certSoon {
		return warn(detail+", its certificate expires in "+human.Duration(left), "renew the server's certificate")
	}
	return ok(detail)
}

func (d *doctor) credentials(ctx context.Context) Check {
	detail := "none are configured, and none are required"
	for _, path := range d.Secrets {
		if _, err := victoria.TokenFile(path)(); err != nil {
			if secret.IsCredential(path) {
				return fail(err.Error(), "run systemctl edit belabox-shipperd, add LoadCredential="+filepath.Base(path)+":FILE to section [Service] and restart it; "+
					"the file exists only while the service runs")
			}
			if errors.Is(err, fs.ErrPermission) { // root has become the user of shipperd, too
				return fail(err.Error(), "run as root: "+datafile.GiveToOwner(d.Config.Storage.Path, path))
			}
			return fail(err.Error(), "make it a file of one line that only the user of shipperd can read: "+
				datafile.AsOwner(path, "chmod 600 "+datafile.Quote(path)))
		}
		detail = "read from " + path
	}
	p, err := d.reach(ctx)
	switch {
	case p.Status == 0:
		return unknown(notConnected)
	case p.Status == http.StatusProxyAuthRequired:
		return fail(err.Error(), "put user and password into HTTP_PROXY or HTTPS_PROXY of the service")
	case refused(p.Status) && len(d.Secrets) > 0:
		return fail(err.Error(), "replace the content of "+d.Secrets[len(d.Secrets)-1]+"; shipperd reads it again for every request")
	case refused(p.Status):
		return fail(err.Error(), "set remote.auth_token_file, or remote.basic_auth")
	}
	return ok(detail)
}

// refused reports whether a status is about credentials.
func refused(status int) bool {
	return status == http.StatusUnauthorized || status == http.StatusForbidden || status == http.StatusProxyAuthRequired
}

// imports judges the answer to an import without samples.
func (d *doctor) imports(ctx context.Context) Check {
	p, err := d.reach(ctx)
	fault, _ := errors.AsType[*victoria.Error](err)
	switch {
	case d.Client == nil || p.Status == 0:
		return unknown(notConnected)
	case p.Stage == victoria.StageDone:
		return ok(fmt.Sprintf("the server accepts imports (%d)", p.Status))
	case refused(p.Status):
		return unknown("not checked: the server refused the credentials")
	case fault.Evidence() == victoria.NotOurServer:
		return fail(err.Error(), health.CauseStranger.Remedy)
	case fault.Class == victoria.ClassAuth:
		return fail(err.Error(), "correct remote.url: it ends in /api/v1/import, for a cluster in /insert/<tenant>/prometheus/api/v1/import")
	case fault.Class == victoria.ClassThrottled:
		return warn(err.Error(), "do nothing: shipperd waits for the time in Retry-After")
	}
	return fail(err.Error(), "see the log of the server; shipperd keeps all samples and retries")
}

const (
	skewFail = 5 * time.Minute // from where on samples are stored under wrong times
	rowAhead = time.Minute     // how far ahead of the clock a row may be
)

// clock compares the clock with the server's, and with the newest row.
func (d *doctor) clock(ctx context.Context) Check {
	if file, err := d.open(ctx); err == nil {
		_, newest, exists, err := file.Span(ctx)
		t, now, fault := d.times(ctx, file)
		if err != nil || fault != nil {
			return unknown(errors.Join(err, fault).Error())
		}
		if ahead := time.UnixMilli(t.MS(newest)).Sub(now); exists && ahead > rowAhead {
			return warn(fmt.Sprintf("the newest row is %s ahead of the clock (%s): one of the two is or was wrong", human.Duration(ahead), human.Time(now)),
				"set the time before collectord starts (chrony, systemd-timesyncd, a clock battery)")
		}
	}
	p, _ := d.reach(ctx)
	switch {
	case p.Status == 0:
		return unknown(notConnected)
	case p.Date.IsZero():
		return unknown("the server does not send its time")
	}
	// The server cuts its time to whole seconds: on average it is half a second later.
	skew := d.probeAt.Sub(p.Date) - p.RoundTrip/2 - time.Second/2
	off := skew.Abs() - p.RoundTrip/2 - time.Second/2 // at least
	direction := "ahead of"
	if skew < 0 {
		direction = "behind"
	}
	detail := fmt.Sprintf("%s %s the server's", human.Duration(skew.Abs()), direction)
	switch {
	case off > skewFail:
		return fail(detail, health.ClockSkew.Remedy)
	case off > time.Duration(d.Config.Monitoring.ClockSkewWarnThresholdMS)*time.Millisecond:
		return warn(detail, health.ClockSkew.Remedy)
	}
	return ok("agrees with the server's to the second")
}

// trueTime says where the time of the newest samples comes from.
func (d *doctor) trueTime(ctx context.Context) Check {
	file, err := d.open(ctx)
	if err != nil {
		return unknown(notOpen)
	}
	t, err := file.Timeline(ctx)
	if err != nil {
		return unknown(err.Error())
	}
	last := t[len(t)-1]
	waiting, err := file.Count(ctx, t.Known(), math.MaxInt64)
	switch text := truetime.Describe(last); {
	case err != nil:
		return unknown(err.Error())
	case waiting > 0:
		return warn(fmt.Sprintf("%s; %s wait", text, human.Plural(waiting, "sample")),
			"nothing is lost: they are sent as soon as the server is reached, or NTP sets the clock; if the server is reached and they still wait, its time is not confirmed: set monitoring.clock_skew_url, or the clock")
	case last.How == store.HowUnconfirmed && last.Boot != "":
		return warn(text, "let NTP set the clock, or use a server whose answers have a Date")
	default:
		return ok(text)
	}
}

// readBack queries the last minute, as verification does.
func (d *doctor) readBack(ctx context.Context) Check {
	switch {
	case !d.Config.Remote.Verify.Enabled:
		return active(health.Unproven)
	case d.Client == nil || !d.answers(ctx):
		return unknown(notConnected)
	}
	sel := victoria.Selector{DeviceID: config.ResolveDeviceID(d.Config, os.ReadFile, os.Hostname)}
	to := d.Now().UnixMilli()
	from := to - time.Minute.Milliseconds()
	err := d.Client.Export(ctx, sel, from, to, func([]store.Tag, []int64) error { return nil })
	if err != nil {
		return unreadable(err)
	}
	d.readable = true
	_, err = d.Client.Count(ctx, sel, from, to)
	switch {
	case errors.Is(err, victoria.ErrNotSupported):
		return ok("export works; the server has no queries, so verification transfers more bytes")
	case err != nil:
		return warn(err.Error(), "give the credentials access to /api/v1/query: without it verification transfers more bytes")
	}
	return ok("export and query work")
}
