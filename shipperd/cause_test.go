package main

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"belabox-metrics/shared/health"
	"belabox-metrics/shared/store"
	"belabox-metrics/shared/testkit"
	"belabox-metrics/shipperd/internal/victoria"
)

// TestCauseOf: the cause of a failed upload follows from the type of its error, whatever its text
// says.
func TestCauseOf(t *testing.T) {
	t.Parallel()
	f := func(err error, want health.Cause, message string) {
		t.Helper()
		if got := causeOf(err, "http://m"); got.Code != want.Code || got.Remedy != want.Remedy || !strings.HasPrefix(got.Message, message) {
			t.Errorf("%v: got %+v, want %s, %q", err, got, want.Code, message)
		}
	}
	server := func(status int, class victoria.Class) error { return &victoria.Error{Status: status, Class: class} }
	f(server(401, victoria.ClassAuth), health.CauseCredentials, "m refused the credentials (401 Unauthorized)")
	f(server(403, victoria.ClassAuth), health.CauseCredentials, "m refused the credentials (403 Forbidden)")
	f(server(404, victoria.ClassAuth), health.CauseAddress, "m does not accept imports at this address (404 Not Found)")
	f(server(400, victoria.ClassAuth), health.CauseAddress, "m does not accept imports at this address (400 Bad Request)")
	f(server(302, victoria.ClassRedirect), health.CauseStranger, "something other than m answers (302 Found)")
	f(server(511, victoria.ClassStranger), health.CauseStranger, "something other than m answers (511 Network Authentication Required)")
	f(server(503, victoria.ClassServer), health.CauseAnswer, "m answered with an error (503 Service Unavailable)")
	f(server(599, victoria.ClassServer), health.CauseAnswer, "m answered with an error (599)")
	f(&victoria.Error{Class: victoria.ClassTimeout}, health.CauseTimeout, "no answer from m in time")
	f(fmt.Errorf("record chunks: %w", store.ErrFull), health.CauseDiskFull, "the disk is full")
	f(fmt.Errorf("record chunks: %w", store.ErrIO), health.CauseDisk, "the disk fails or is read-only")
	f(fmt.Errorf("record chunks: %w", store.ErrReadOnly), health.CauseDisk, "the disk fails or is read-only")
	f(errors.New("connection refused"), health.Cause{}, "connection refused")
	for reason, cause := range causes {
		f(&victoria.Error{Class: victoria.ClassNetwork, Reason: reason}, cause, cause.Of("m").Message)
	}
}

// TestCauseOf_Connection has the real errors of the network.
func TestCauseOf_Connection(t *testing.T) {
	t.Parallel()
	f := func(url string, want health.Cause) {
		t.Helper()
		client, err := victoria.New(victoria.Config{URL: url, Timeout: 2 * time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		_, err = client.Probe(t.Context())
		if got := causeOf(err, "http://m"); got != want.Of("m") {
			t.Errorf("%s: %v: got %+v, want %+v", url, err, got, want)
		}
	}
	f("http://"+testkit.FreeAddr(t)+"/api/v1/import", health.CauseRefused)
	f("http://metrics.invalid/api/v1/import", health.CauseName)
	hangUp := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
	defer hangUp.Close()
	f(hangUp.URL+"/api/v1/import", health.CauseClosed)
	tls := httptest.NewTLSServer(http.NotFoundHandler())
	defer tls.Close()
	f(tls.URL+"/api/v1/import", health.CauseCertificate)
}
