package page

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// mux is a server that a page registers with.
type mux struct{ *http.ServeMux }

func (m mux) Handle(path string, h http.Handler) {
	if strings.HasSuffix(path, "/") {
		path += "{$}"
	}
	m.ServeMux.Handle(path, h)
}

// serveMux serves a page and returns its address.
func serveMux(t testing.TB, p *Page) string {
	t.Helper()
	m := mux{http.NewServeMux()}
	p.Register(m)
	server := httptest.NewServer(m)
	t.Cleanup(server.Close)
	return server.URL
}
