package health

import (
	"strings"
	"time"

	"belabox-metrics/shared/config"
	"belabox-metrics/shared/human"
	"belabox-metrics/shared/metrics"
	"belabox-metrics/shared/store"
)

// Cause is a row of the second table: why uploads fail. It completes the message of the conditions
// upload_late, upload_overdue and upload_stalled, and replaces their remedy where waiting does not
// help.
type Cause struct {
	Code    string
	Message string // HOST stands for the server
	Remedy  string // "" = that of the condition
}

// The causes. shipperd picks one by the type of the error. They are declared before the conditions,
// some of whose rules use them: otherwise Go would initialise those rows of the table last.
var (
	CauseRefused     = Cause{"refused", "connection refused by HOST", ""}
	CauseName        = Cause{"name", "HOST cannot be resolved", ""}
	CauseUnreachable = Cause{"unreachable", "no route to HOST", ""}
	CauseClosed      = Cause{"closed", "HOST closed the connection", ""}
	CauseTimeout     = Cause{"timeout", "no answer from HOST in time", ""}
	CauseCertificate = Cause{"certificate", "the certificate of HOST is not trusted", "Check the device's clock, then `remote.tls` and the server's certificate. Samples wait in the file."}
	CauseExpired     = Cause{"expired", "the certificate of HOST has expired or is not valid yet", "Check the device's clock (`timedatectl`). If it is right, renew the server's certificate. Samples wait in the file."}
	CauseCredentials = Cause{"credentials", "HOST refused the credentials", "Write a valid token or password to the file that is set in section `remote` of the configuration. shipperd reads it again without a restart. Samples wait in the file."}
	CauseAddress     = Cause{"address", "HOST does not accept imports at this address", "Check the path of `remote.url`. Samples wait in the file."}
	CauseDiskFull    = Cause{"disk_full", "the disk is full", "Free disk space. A chunk is recorded in the file before it is sent."}
	CauseDisk        = Cause{"disk", "the disk fails or is read-only", "Look at the errors of the disk (`dmesg`), then repair its file system (fsck) or restart the device. If it fails again, replace the disk or card."}
	CauseUnset       = Cause{"unset", "no server answers at HOST, the default of `remote.url`", "Set `remote.url` to the address of the server and restart shipperd. If the server is on this device, start it. Samples wait in the file."}
	CauseNothing     = Cause{"nothing", "no new samples are stored", "The page and `/health` of collectord (port 9100) show why it stores none."}
	CauseStranger    = Cause{"stranger", "something other than HOST answers", "Log in if the network has a login page; otherwise check `remote.url` and the proxies in front of the server. Samples wait in the file."}
	CauseAnswer      = Cause{"answer", "HOST answered with an error", ""}
)

// Causes returns the table.
func Causes() []Cause {
	return []Cause{
		CauseRefused, CauseName, CauseUnreachable, CauseClosed, CauseTimeout, CauseCertificate, CauseExpired, CauseCredentials, CauseAddress, CauseDiskFull, CauseDisk, CauseUnset, CauseNothing, CauseStranger, CauseAnswer,
	}
}

// Of returns the cause with the name of the server in its message.
func (c Cause) Of(host string) Cause {
	if host == "" {
		host = "the server"
	}
	c.Message = strings.ReplaceAll(c.Message, "HOST", host)
	return c
}

// At completes a cause for uploads to url: the name of the server in its message, and the missing
// configuration where that is the cause.
func (c Cause) At(url string) Cause {
	if c.Code == CauseRefused.Code && url == config.Default().Remote.URL {
		c = CauseUnset
	}
	return c.Of(human.Host(url))
}

// savedFor is how long a cause counts that shipperd saves every minute.
const savedFor = 3 * time.Minute

// Saved adds what shipperd has saved in the file with its self-metrics: why uploads to url fail,
// and conditions of reading back, whose messages end before their details.
func (u *Uploader) Saved(stats []store.Stat, url string, now time.Time) {
	for _, s := range stats {
		if s.Name != metrics.UploadFailing.Name || s.Value == 0 || now.Sub(s.Updated).Abs() > savedFor {
			continue
		}
		for _, code := range metrics.UploadFailing.LabelsIn([]store.Stat{s}) {
			u.saved(code, url)
		}
	}
}

func (u *Uploader) saved(code, url string) {
	for _, cause := range Causes() {
		if cause.Code == code {
			u.Cause = cause.At(url)
		}
	}
	for _, c := range []*Condition{ReadsRefused, NotVisible, Unread, NotKept} {
		if c.Code == code {
			message, _, _ := strings.Cut(c.Message, "%")
			message = message[:strings.LastIndexAny(message, ":;")]
			u.Found = append(u.Found, Active{c.Component, c.Code, c.Severity, message, c.Remedy, time.Time{}})
		}
	}
}
