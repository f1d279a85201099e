package front

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"hash/fnv"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
)

// send passes a request on with another body and returns the answer.
func send(server http.Handler, r *http.Request, body []byte) *httptest.ResponseRecorder {
	out := r.Clone(r.Context())
	out.Body, out.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	answer := httptest.NewRecorder()
	server.ServeHTTP(answer, out)
	return answer
}

// plainly passes a request on as it is and returns an answer without compression.
func plainly(server http.Handler, r *http.Request) *httptest.ResponseRecorder {
	out := r.Clone(r.Context())
	out.Header.Del("Accept-Encoding")
	answer := httptest.NewRecorder()
	server.ServeHTTP(answer, out)
	return answer
}

// give writes a recorded answer.
func give(w http.ResponseWriter, answer *httptest.ResponseRecorder) {
	maps.Copy(w.Header(), answer.Header())
	w.WriteHeader(answer.Code)
	_, _ = w.Write(answer.Body.Bytes()) // to a client that has gone: nobody wants it
}

// lines returns the JSON lines of an import.
func lines(r *http.Request) (all [][]byte, err error) {
	in := io.Reader(r.Body)
	if r.Header.Get("Content-Encoding") == "gzip" {
		if in, err = gzip.NewReader(r.Body); err != nil {
			return nil, err
		}
	}
	text, err := io.ReadAll(in)
	if err != nil {
		return nil, err
	}
	for line := range bytes.Lines(text) {
		all = append(all, line)
	}
	return all, nil
}

// sendLines is send for an import of lines.
func sendLines(server http.Handler, r *http.Request, lines [][]byte) *httptest.ResponseRecorder {
	out := r.Clone(r.Context())
	out.Header.Del("Content-Encoding")
	return send(server, out, bytes.Join(lines, nil))
}

// line is what a front reads of a JSON line.
type line struct {
	name    string
	labels  []byte // all of them, as they stand there
	samples int
}

func parse(text []byte) (line, error) {
	var in struct {
		Metric     json.RawMessage
		Timestamps []int64
	}
	if err := json.Unmarshal(text, &in); err != nil {
		return line{}, err
	}
	var labels map[string]string
	err := json.Unmarshal(in.Metric, &labels)
	return line{labels["__name__"], in.Metric, len(in.Timestamps)}, err
}

// odd picks one half of all series.
func odd(labels []byte) bool {
	h := fnv.New32a()
	h.Write(labels)
	return h.Sum32()%2 == 1
}

// onImports is a mode that treats imports only. An import that f cannot read is
// answered 400.
func onImports(f func(w http.ResponseWriter, r *http.Request, server http.Handler) error) Mode {
	return func(server http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if KindOf(r) != Import {
				server.ServeHTTP(w, r)
				return
			}
			if err := f(w, r, server); err != nil {
				http.Error(w, err.Error(), http.StatusBadRequest)
			}
		})
	}
}
