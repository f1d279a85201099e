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
// rule or a cardinality limit of the server does.
func Drop(metric string) Mode {
	return onImports(func(w http.ResponseWriter, r *http.Request, server http.Handler) error {
		all, err := lines(r)
		if err != nil {
			return err
		}
		var kept [][]byte
		for _, line := range all {
			_, byName, err := labels(line)
			if err != nil {
				return err
			}
			if byName["__name__"] != metric {
				kept = append(kept, line)
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

// LoseReplies passes the next n imports on that have a body and closes their
// connections instead of answering.
func LoseReplies(n int) Mode {
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
		send(server, r, body)
		panic(http.ErrAbortHandler)
	})
}
