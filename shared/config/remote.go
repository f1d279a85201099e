package config

import (
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

const importPath = "/api/v1/import"

func (v *validator) remote() {
	c := &v.cfg.Remote
	v.endpoints()
	v.credentials()
	v.headers()
	v.tls()

	v.span("remote.upload_interval", c.UploadInterval, time.Second, 24*time.Hour)
	number(v, "remote.batch_size", c.BatchSize, 1, 100_000)
	number(v, "remote.chunk_size", c.ChunkSize, 1, 100_000)
	if c.ChunkSize > c.BatchSize {
		v.clash([]string{"remote.chunk_size", "remote.batch_size"},
			"want chunk_size at most batch_size, got %d and %d", c.ChunkSize, c.BatchSize)
	}
	number(v, "remote.max_chunk_bytes", c.MaxChunkBytes, 4<<10, 4<<20)
	v.choice("remote.order", c.Order, OldestFirst, NewestFirst)
	if c.CatchUpBytesPerSecond < 1024 && c.CatchUpBytesPerSecond != 0 {
		v.fault("remote.catch_up_bytes_per_second", "want 0 for no limit, or at least 1024, got %d", c.CatchUpBytesPerSecond)
	}
	number(v, "remote.monthly_budget_mb", c.MonthlyBudgetMB, 0, 100_000_000)
	number(v, "remote.budget_day", c.BudgetDay, 1, 28)
	v.span("remote.timeout", c.Timeout, time.Second, 10*time.Minute)
	v.span("remote.max_past", c.MaxPast, time.Minute, 876000*time.Hour)
	v.span("remote.max_future", c.MaxFuture, time.Minute, 876000*time.Hour)

	r := &c.Retry
	number(v, "remote.retry.max_attempts", r.MaxAttempts, 1, 100)
	v.span("remote.retry.initial_backoff", r.InitialBackoff, 100*time.Millisecond, time.Hour)
	v.span("remote.retry.max_backoff", r.MaxBackoff, 100*time.Millisecond, 24*time.Hour)
	if r.InitialBackoff > r.MaxBackoff {
		v.clash([]string{"remote.retry.max_backoff", "remote.retry.initial_backoff"},
			"want max_backoff at least initial_backoff, got %s and %s", short(r.MaxBackoff), short(r.InitialBackoff))
	}
	number(v, "remote.retry.multiplier", r.Multiplier, 1, 10)
	number(v, "remote.retry.jitter_percent", r.JitterPercent, 0, 100)

	v.span("remote.verify.delay", c.Verify.Delay, 15*time.Second, time.Hour)
	v.span("remote.verify.settle", c.Verify.Settle, 15*time.Second, 10*time.Minute)
	number(v, "remote.verify.max_resends", c.Verify.MaxResends, 0, 1000)
}

// endpoints checks the addresses for writing and reading.
func (v *validator) endpoints() {
	c := &v.cfg.Remote
	if c.URL == "" && c.Enabled {
		v.fault("remote.url", "empty: want the import address, or remote.enabled: false to only collect")
	}
	imports := v.url("remote.url", c.URL)
	exports := v.url("remote.verify.url", c.Verify.URL)
	if exports != nil && !strings.HasSuffix(exports.Path, "/api/v1/export") {
		v.fault("remote.verify.url", "want an address that ends in /api/v1/export")
	}
	switch {
	case imports == nil:
	case strings.Trim(imports.Path, "/") == "":
		v.fault("remote.url", "has no path: for VictoriaMetrics add %s", importPath)
	case !strings.HasSuffix(imports.Path, importPath) && c.Verify.Enabled && c.Verify.URL == "":
		v.fault("remote.url", "does not end in %s: correct it, or set remote.verify.url too, which cannot be derived from it", importPath)
	}
}

// secretParameter finds query parameters that look like a key: VictoriaMetrics
// has authKey, others have token, api_key, access_token.
var secretParameter = regexp.MustCompile(`(?i)token|secret|passw|(auth|api)[_-]?key`)

// url checks and returns an address; nil where it is empty or faulty. Nothing of
// the address is quoted, also not by way of the parser's error: a password may be
// anywhere in it.
func (v *validator) url(key, text string) *url.URL {
	if text == "" {
		return nil
	}
	fault := func(message string) *url.URL {
		v.fault(key, "%s", message)
		return nil
	}
	u, err := url.Parse(text)
	if err != nil {
		return fault("not a URL such as http://127.0.0.1:8428" + importPath)
	}
	if u.User != nil {
		return fault("credentials in a URL would appear in logs: use remote.auth_token_file or remote.basic_auth")
	}
	if (u.Scheme != "http" && u.Scheme != "https") || u.Hostname() == "" {
		return fault("want http:// or https:// and a host")
	}
	if _, err := strconv.ParseUint(u.Port(), 10, 16); err != nil && u.Port() != "" {
		return fault("the port is not a number from 0 to 65535")
	}
	if u.Fragment != "" {
		return fault("# and what follows it is never sent: delete it")
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return fault("the part after the ? is malformed")
	}
	for name := range query {
		if secretParameter.MatchString(name) {
			return fault("a parameter looks like a secret, which would appear in logs: use remote.auth_token_file or remote.basic_auth")
		}
	}
	return u
}

// credentials checks that there is at most one way to log in, and that it is whole.
func (v *validator) credentials() {
	c := &v.cfg.Remote
	const token, user, password = "remote.auth_token_file", "remote.basic_auth.username", "remote.basic_auth.password_file"
	v.optionalPath(token, c.AuthTokenFile)
	v.optionalPath(password, c.BasicAuth.PasswordFile)
	// RFC 7617, section 2.
	if strings.Contains(c.BasicAuth.Username, ":") || !printable(c.BasicAuth.Username) {
		v.fault(user, "contains a colon or a control character")
	}
	if (c.BasicAuth.Username == "") != (c.BasicAuth.PasswordFile == "") {
		v.clash([]string{user, password}, "username and password_file belong together: set both or none")
	}
	if c.AuthTokenFile != "" && (c.BasicAuth.Username != "" || c.BasicAuth.PasswordFile != "") {
		v.clash([]string{token, user, password}, "auth_token_file and basic_auth exclude each other: delete one")
	}
}

var (
	headerName = regexp.MustCompile("^[!#$%&'*+.^_`|~0-9A-Za-z-]+$") // token of RFC 9110, section 5.6.2

	credentialHeaders = []string{"Authorization", "Cookie", "Proxy-Authorization"}
	ownHeaders        = []string{
		"Accept-Encoding", "Connection", "Content-Encoding", "Content-Length", "Content-Type", "Expect",
		"Host", "Te", "Trailer", "Transfer-Encoding", "Upgrade",
	}
)

func (v *validator) headers() {
	headers := v.cfg.Remote.Headers
	spelling := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		key, canonical := childKey("remote.headers", name), http.CanonicalHeaderKey(name)
		value := headers[name]
		other, twice := spelling[canonical]
		spelling[canonical] = name
		switch {
		case !headerName.MatchString(name):
			v.fault(key, "not the name of an HTTP header")
		case slices.Contains(credentialHeaders, canonical):
			v.fault(key, "credentials are not allowed here: use remote.auth_token_file or remote.basic_auth")
		case slices.Contains(ownHeaders, canonical):
			v.fault(key, "shipperd sets this header itself")
		case twice:
			v.fault(key, "the same header as %s", other)
		case !printable(value) || strings.TrimSpace(value) != value:
			v.fault(key, "contains a control character, or begins or ends with a space")
		}
	}
}

func (v *validator) tls() {
	c := &v.cfg.Remote
	const ca, cert, key = "remote.tls.ca_file", "remote.tls.cert_file", "remote.tls.key_file"
	v.optionalPath(ca, c.TLS.CAFile)
	v.optionalPath(cert, c.TLS.CertFile)
	v.optionalPath(key, c.TLS.KeyFile)
	if (c.TLS.CertFile == "") != (c.TLS.KeyFile == "") {
		v.clash([]string{cert, key}, "cert_file and key_file belong together: set both or none")
	}
	encrypted := strings.HasPrefix(c.URL, "https:") || strings.HasPrefix(c.Verify.URL, "https:")
	for _, file := range []struct{ key, path string }{{ca, c.TLS.CAFile}, {cert, c.TLS.CertFile}, {key, c.TLS.KeyFile}} {
		if file.path != "" && !encrypted {
			v.clash([]string{file.key, "remote.url"}, "has no effect: remote.url is not https")
		}
	}
}
