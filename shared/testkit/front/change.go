package front

import (
	"io"
	"net/http"
	"sync/atomic"
)

// Rename gives every sample another value of a label on its way in, as extra_label
// of vmauth or -relabelConfig of the server do.
func Rename(label, value string) Mode {
	return onImports(func(w http.ResponseWriter, r *http.Request, server http.Handler) error {
		server.ServeHTTP(w, withArg(r, "extra_label", label+"="+value))
		return nil
	})
}

// ReadElsewhere lets reads see nothing that was imported, as those of another tenant.
func ReadElsewhere() Mode {
	return func(server http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if kind := KindOf(r); kind == Export || kind == Query {
				r = withArg(r, "extra_filters[]", `{__name__="of_another_tenant"}`)
			}
			server.ServeHTTP(w, r)
		})
	}
}

func withArg(r *http.Request, name, value string) *http.Request {
	out := r.Clone(r.Context())
	args := out.URL.Query()
	args.Add(name, value)
	out.URL.RawQuery = args.Encode()
	return out
}

// Drop throws one metric away and answers as if it had been taken, as a relabeling
// rule or a cardinality limit of the server does. It counts the samples in dropped.
func Drop(metric string, dropped *atomic.Int64) Mode {
	return onImports(func(w http.ResponseWriter, r *http.Request, server http.Handler) error {
		all, err := lines(r)
		if err != nil {
			return err
		}
		var kept [][]byte
		for _, text := range all {
			l, err := parse(text)
			switch {
			case err != nil:
				return err
			case l.name == metric:
				dropped.Add(int64(l.samples))
			default:
				kept = append(kept, text)
			}
		}
		give(w, sendLines(server, r, kept))
		return nil
	})
}

// Repeat sends every import twice and gives the second answer, as vmauth does when
// the first one is lost.
func Repeat() Mode {
	return onImports(func(w http.ResponseWriter, r *http.Request, server http.Handler) error {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return err
		}
		send(server, r, body)
		give(w, send(server, r, body))
		return nil
	})
}

// LoseReplies passes the next n imports on that have a body, and closes their
// connections instead of answering.
func LoseReplies(n int) Mode { return lose(n, true) }

// LoseRequests takes the next n imports that have a body, and closes their
// connections; the server does not get them.
func LoseRequests(n int) Mode { return lose(n, false) }

func lose(n int, passOn bool) Mode {
	var lost atomic.Int64
	return onImports(func(w http.ResponseWriter, r *http.Request, server http.Handler) error {
		if r.ContentLength == 0 || lost.Add(1) > int64(n) {
			server.ServeHTTP(w, r)
			return nil
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return err
		}
		if passOn {
			send(server, r, body)
		}
		panic(http.ErrAbortHandler)
	})
}
