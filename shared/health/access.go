package health

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strings"

	"belabox-metrics/shared/config"
	"belabox-metrics/shared/secret"
)

// livePath is for supervisors, which have no password and use any host name. Its answer shows
// nothing but whether the loop advances.
const livePath = "/health/live"

// Access restricts who is answered. The zero value has no password.
type Access struct {
	Hosts []string // names in the Host header, besides those that are always allowed
	Login *Login   // nil = no login is needed
}

// AccessOf returns the restrictions of a configuration. It reads health.auth_file once.
func AccessOf(c config.HealthConfig) (Access, error) {
	a := Access{Hosts: c.AllowedHosts}
	if c.AuthFile == "" {
		return a, nil
	}
	text, err := secret.ReadLine(c.AuthFile)
	if err != nil {
		return a, fmt.Errorf("health.auth_file: %w", err)
	}
	user, password, found := strings.Cut(text, ":")
	if !found || user == "" || password == "" {
		return a, fmt.Errorf("health.auth_file: %q must contain one line, user:password", c.AuthFile)
	}
	a.Login = newLogin(user, password)
	return a, nil
}

// Login is a user and a password, kept as a hash.
type Login struct{ sum [sha256.Size]byte }

// newLogin returns the login of a user, whose name has no colon.
func newLogin(user, password string) *Login {
	return &Login{sha256.Sum256([]byte(user + ":" + password))}
}

// admits compares in constant time.
func (l *Login) admits(r *http.Request) bool {
	user, password, ok := r.BasicAuth()
	sum := sha256.Sum256([]byte(user + ":" + password))
	return subtle.ConstantTimeCompare(sum[:], l.sum[:]) == 1 && ok
}

// hosts are the names by which this machine may be addressed. With any other name in the Host
// header a browser may have been led here by an attacker whose DNS name points at this machine (DNS
// rebinding). An address is safe, and so is a name that public DNS does not resolve.
type hosts struct{ names []string }

// newHosts allows the names of this machine, the one it listens on, and those of
// the configuration.
func newHosts(listen string, further []string) hosts {
	names := []string{"localhost"}
	if host, _, err := net.SplitHostPort(listen); err == nil && host != "" {
		names = append(names, strings.ToLower(host))
	}
	if name, err := os.Hostname(); err == nil && name != "" {
		name = strings.ToLower(name)
		first, _, _ := strings.Cut(name, ".")
		names = append(names, name, first, first+".local")
	}
	for _, name := range further {
		names = append(names, strings.ToLower(name))
	}
	return hosts{names}
}

// allow reports whether a Host header is acceptable. Browsers always send one.
func (h hosts) allow(header string) bool {
	if header == "" {
		return true
	}
	host := header
	if name, _, err := net.SplitHostPort(header); err == nil {
		host = name
	}
	if _, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil {
		return true
	}
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	return slices.Contains(h.names, host) || strings.HasSuffix(host, ".localhost")
}

// fromOtherSite reports whether a browser sent the request for a page of another web site.
// Following a link to the status page is not that: it shows the page to the person and nothing to
// the site.
func fromOtherSite(r *http.Request) bool {
	h := r.Header
	link := r.URL.Path == "/" && h.Get("Sec-Fetch-Mode") == "navigate" && h.Get("Sec-Fetch-Dest") == "document"
	return strings.EqualFold(h.Get("Sec-Fetch-Site"), "cross-site") && !link
}

func addressOfRequest(r *http.Request) netip.Prefix {
	address, _ := netip.ParseAddrPort(r.RemoteAddr) // made by net/http
	return addressOf(net.TCPAddrFromAddrPort(address))
}

// passwordDue waits until the password of a request may be checked.
func (s *Server) passwordDue(ctx context.Context, r *http.Request) bool {
	if s.login == nil || r.URL.Path == livePath || r.Header.Get("Authorization") == "" {
		return true
	}
	return s.guesses.wait(ctx, addressOfRequest(r))
}

// admitted checks the password.
func (s *Server) admitted(r *http.Request) bool {
	right := s.login.admits(r)
	if right {
		s.guesses.right(addressOfRequest(r))
	}
	return right
}

// refused answers a request that must not be served, and reports whether it did.
func (s *Server) refused(w http.ResponseWriter, r *http.Request) bool {
	switch {
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		w.Header().Set("Allow", "GET, HEAD")
		writeJSON(w, http.StatusMethodNotAllowed, problem{"method not allowed; use GET or HEAD"})
	case fromOtherSite(r):
		writeJSON(w, http.StatusForbidden, problem{"requests of other web sites are refused; open the address in the browser itself"})
	case r.URL.Path == livePath:
		return false
	case !s.hosts.allow(r.Host):
		writeJSON(w, http.StatusMisdirectedRequest, problem{fmt.Sprintf(
			"%q is not a name of this machine; use its address, or add the name to health.allowed_hosts", r.Host)})
	case s.login != nil && !s.admitted(r):
		if r.Header.Get("Authorization") != "" {
			s.count(refusedLogin)
			s.logins.Fail(s.log, slog.LevelWarn, "login refused", errLogin, "remote", r.RemoteAddr)
		}
		w.Header().Set("WWW-Authenticate", `Basic realm="belabox-metrics", charset="UTF-8"`)
		writeJSON(w, http.StatusUnauthorized, problem{"login required; see health.auth_file"})
	default:
		return false
	}
	return true
}

var errLogin = errors.New("wrong user or password")

// protect sets the headers of every answer. The policy allows what comes from
// this server and nothing else, no inline script or style, and no frame around it.
func protect(h http.Header) {
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "+
		"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
}
