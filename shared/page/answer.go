package page

import (
	"compress/gzip"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"net/http"
	"strings"

	"belabox-metrics/shared/human"
)

// problem is the body of an error.
type problem struct {
	Error string `json:"error"`
}

func answerProblem(w http.ResponseWriter, code int, text string) {
	body, err := json.Marshal(problem{text})
	if err != nil {
		panic(err) // a string always can
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_, _ = w.Write(append(body, '\n')) // the client may be gone
}

// zipFrom is from how many bytes on an answer is compressed. What a page asks for again and again
// is below.
const zipFrom = 16 << 10

// answer sends JSON, or 304 where the client has the same already.
func answer(w http.ResponseWriter, r *http.Request, body []byte) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Vary", "Accept-Encoding")
	if tag := tagOf(body); len(body) >= zipFrom && takesGzip(r.Header.Get("Accept-Encoding")) {
		w.Header().Set("Content-Encoding", "gzip")
		send(w, r, zippedTag(tag), func() []byte { return compress(human.JSON(body, false), gzip.BestSpeed) })
	} else {
		send(w, r, tag, func() []byte { return body })
	}
}

func zippedTag(tag string) string { return strings.TrimSuffix(tag, `"`) + `-gzip"` }

// send sends a body with an entity tag; body is not called if the client has it. The client may
// keep it but must revalidate it each time.
func send(w http.ResponseWriter, r *http.Request, tag string, body func() []byte) {
	w.Header().Set("Cache-Control", "no-cache")
	w.Header().Set("ETag", tag)
	for known := range strings.SplitSeq(r.Header.Get("If-None-Match"), ",") {
		if strings.TrimPrefix(strings.TrimSpace(known), "W/") == tag {
			w.WriteHeader(http.StatusNotModified)
			return
		}
	}
	_, _ = w.Write(body()) // the client may be gone
}

// tagOf makes the entity tag. A collision only makes an answer stale.
func tagOf(body []byte) string {
	h := fnv.New64a()
	_, _ = h.Write(body) // a hash takes everything
	return fmt.Sprintf(`"%016x"`, h.Sum64())
}
