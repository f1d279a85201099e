// Package upstream passes samples on to a VictoriaMetrics, single node or cluster, and brings its answers back.
//
// It promises that nil from WriteChunk means that the server said yes to the whole of it; that an Error says whether
// the server may have stored something; and that an answer which was cut, or which comes from something else than a
// server, is an error. It does not promise that what the server said yes to stays there: VictoriaMetrics keeps the last
// ten seconds in memory only. The sender's own reading back finds that out, and so a chunk is remembered for less time
// than the sender waits before it asks.
package upstream

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strings"
	"time"

	"belabox-metrics/docker/receiver/internal/line"
	"belabox-metrics/docker/receiver/internal/store"
	"belabox-metrics/shared/secret"
)

// Config says where the server is.
type Config struct {
	// URL is its import address, http or https: …/api/v1/import, or …/insert/<tenant>/prometheus/api/v1/import.
	URL string
	// ReadURL is its export address; "" is derived from URL: on the same host, with /select/ for /insert/.
	ReadURL string
	// TokenFile holds the bearer token for the server; "" = none. It is read for every request.
	TokenFile string
	// CAFile replaces the system's CAs; "" = those.
	CAFile string
	// Timeout bounds a request from dialling to the last byte of the answer.
	Timeout time.Duration // default 25 s
}

// defaultTimeout is below shipperd's own default (remote.timeout, 30 s): the sender should hear that it took too long,
// and not give up first.
const defaultTimeout = 25 * time.Second

// Server is the way to the server. All methods may be called from many goroutines.
type Server struct {
	cfg                  Config
	write, export, count string
	client               *http.Client
	memory               memory
}

// New checks the configuration and returns all faults at once. It opens no connection.
func New(cfg Config) (*Server, error) {
	if cfg.Timeout == 0 {
		cfg.Timeout = defaultTimeout
	}
	s := &Server{cfg: cfg, memory: memory{now: time.Now}}
	var faults []error
	if s.write, s.export, s.count = addresses(cfg, &faults); cfg.TokenFile != "" {
		if _, err := secret.ReadLine(cfg.TokenFile, secret.Group); err != nil {
			faults = append(faults, fmt.Errorf("-upstream-token-file: %w", err))
		}
	}
	tlsConfig := &tls.Config{MinVersion: tls.VersionTLS12}
	if cfg.CAFile != "" {
		pem, err := os.ReadFile(cfg.CAFile)
		tlsConfig.RootCAs = x509.NewCertPool()
		if err == nil && !tlsConfig.RootCAs.AppendCertsFromPEM(pem) {
			err = fmt.Errorf("%q holds no certificate in PEM form", cfg.CAFile)
		}
		if err != nil {
			faults = append(faults, fmt.Errorf("-upstream-ca-file: %w", err))
		}
	}
	s.client = &http.Client{
		Transport: &http.Transport{
			Proxy:               http.ProxyFromEnvironment,
			DialContext:         (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
			TLSClientConfig:     tlsConfig,
			TLSHandshakeTimeout: 5 * time.Second,
			MaxIdleConnsPerHost: 64,
			// Below VictoriaMetrics' own (-http.idleConnTimeout, a minute): who closes first does not run into a connection
			// that the server closes at the moment of a request.
			IdleConnTimeout:        50 * time.Second,
			MaxResponseHeaderBytes: 64 << 10,
			DisableCompression:     true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return s, errors.Join(faults...)
}

// Close closes idle connections.
func (s *Server) Close() { s.client.CloseIdleConnections() }

const importPath, exportPath, queryPath = "/api/v1/import", "/api/v1/export", "/api/v1/query"

// insertPath: https://docs.victoriametrics.com/victoriametrics/cluster-victoriametrics/#url-format
var insertPath = regexp.MustCompile(`/insert/([0-9]+(?::[0-9]+)?)/prometheus$`)

// addresses returns where to write, to export from and to ask.
func addresses(cfg Config, faults *[]error) (write, export, count string) {
	u, err := parseURL(cfg.URL, importPath)
	if err != nil {
		*faults = append(*faults, fmt.Errorf("-upstream: %w", err))
		return "", "", ""
	}
	prefix := strings.TrimSuffix(u.Path, importPath)
	prefix = insertPath.ReplaceAllString(prefix, "/select/$1/prometheus")
	read := *u
	if cfg.ReadURL != "" {
		r, err := parseURL(cfg.ReadURL, exportPath)
		if err != nil {
			*faults = append(*faults, fmt.Errorf("-upstream-read: %w", err))
			return "", "", ""
		}
		read, prefix = *r, strings.TrimSuffix(r.Path, exportPath)
	}
	at := func(path string) string {
		return (&url.URL{Scheme: read.Scheme, Host: read.Host, Path: prefix + path}).String()
	}
	return u.String(), at(exportPath), at(queryPath)
}

// parseURL quotes nothing of a bad address: a password may be anywhere in it.
func parseURL(text, end string) (*url.URL, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return nil, errors.New("not a URL such as http://127.0.0.1:8428" + end)
	case u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "":
		return nil, errors.New("want http:// or https:// and a host")
	case u.User != nil:
		return nil, errors.New("credentials in an address end up in logs; use -upstream-token-file")
	case !strings.HasSuffix(u.Path, end):
		return nil, errors.New("want an address that ends in " + end)
	case u.RawQuery != "" || u.Fragment != "":
		return nil, errors.New("want an address without parameters")
	}
	return u, nil
}

// WriteChunk posts the samples and returns when the server has said yes. The receipt, nil for none, is then remembered
// for RememberFor. The end of ctx is not passed on: a request that was cut in the middle would leave a part of the chunk
// at the server, and its sender, who may have gone, learns more from the whole.
func (s *Server) WriteChunk(ctx context.Context, lines []line.Line, receipt *store.Receipt) error {
	body, err := encode(lines)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.cfg.Timeout)
	defer cancel()
	header := http.Header{"Content-Type": {"application/json"}, "Content-Encoding": {"gzip"}}
	resp, err := s.do(ctx, s.write, header, body)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxErrorBytes))
	switch {
	case resp.StatusCode/100 != 2:
		return refusal(resp, text)
	case err != nil, len(text) > 0, resp.StatusCode != http.StatusNoContent && resp.StatusCode != http.StatusOK:
		// VictoriaMetrics answers 204 and says nothing. What has a text comes from something else, or means something else.
		return &Error{Status: http.StatusBadGateway, Text: "the upstream's answer is none of VictoriaMetrics", MayHaveStored: true}
	}
	if receipt != nil {
		s.memory.add(*receipt)
	}
	return nil
}

// Receipt returns what is remembered of a chunk.
func (s *Server) Receipt(_ context.Context, device, chunk string) (store.Receipt, bool, error) {
	r, ok := s.memory.get(device, chunk)
	return r, ok, nil
}

// do posts and waits for the head of the answer.
func (s *Server) do(ctx context.Context, address string, header http.Header, body []byte) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(body))
	if err != nil {
		return nil, &Error{Status: http.StatusBadGateway, Text: "the upstream's address is wrong"}
	}
	req.Header = header
	req.Header.Set("User-Agent", "belabox-metrics-receiver")
	if s.cfg.TokenFile != "" {
		token, err := secret.ReadLine(s.cfg.TokenFile, secret.Group)
		if err != nil {
			return nil, &Error{Status: http.StatusBadGateway, Text: "the gateway cannot read its token for the upstream", cause: err}
		}
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return nil, failure(err)
	}
	return resp, nil
}
