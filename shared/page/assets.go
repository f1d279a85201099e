package page

import (
	"bytes"
	"compress/gzip"
	"embed"
	"net/http"
	"path"
	"strconv"
	"strings"
	"sync"
)

// files has the directory assets. It is not in memory before it is read.
//
//go:embed assets
var files embed.FS

// assets are the files by path.
var assets = map[string]asset{
	"/":                         "index.html",
	"/favicon.ico":              "icon.svg",
	"/assets/page.css":          "page.css",
	"/assets/app.js":            "app.js",
	"/assets/charts.js":         "charts.js",
	"/assets/panels.js":         "panels.js",
	"/assets/text.js":           "text.js",
	"/assets/uplot.js":          "uplot/uPlot.iife.min.js",
	"/assets/uplot.css":         "uplot/uPlot.min.css",
	"/assets/uplot-license.txt": "uplot/LICENSE.txt",
}

// kinds are the content types of the files.
var kinds = map[string]string{
	".html": "text/html; charset=utf-8",
	".css":  "text/css; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".svg":  "image/svg+xml",
	".txt":  "text/plain; charset=utf-8",
}

// asset is a file of the page, by its name in the directory assets.
type asset string

// handler returns the handler of a file. The first request compresses it, and the result is kept:
// that is 40 kB for all files, and no later request takes time for it.
func (a asset) handler() http.Handler {
	read := func() []byte {
		body, err := files.ReadFile("assets/" + string(a))
		if err != nil {
			panic(err) // a test reads each
		}
		return body
	}
	tag := sync.OnceValue(func() string { return tagOf(read()) })
	zipped := sync.OnceValue(func() []byte { return compress(read(), gzip.DefaultCompression) })
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", kinds[path.Ext(string(a))])
		w.Header().Set("Vary", "Accept-Encoding")
		if !takesGzip(r.Header.Get("Accept-Encoding")) {
			send(w, r, tag(), read)
			return
		}
		w.Header().Set("Content-Encoding", "gzip")
		send(w, r, zippedTag(tag()), zipped)
	})
}

func compress(body []byte, level int) []byte {
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, level)
	if err != nil {
		panic(err) // a level that there is
	}
	_, _ = z.Write(body) // a buffer takes everything
	_ = z.Close()
	return b.Bytes()
}

// takesGzip reads an Accept-Encoding header (RFC 9110, 12.5.3).
func takesGzip(accept string) bool {
	for part := range strings.SplitSeq(accept, ",") {
		name, parameters, _ := strings.Cut(part, ";")
		if !strings.EqualFold(strings.TrimSpace(name), "gzip") {
			continue
		}
		weight, given := strings.CutPrefix(strings.ToLower(strings.Join(strings.Fields(parameters), "")), "q=")
		q, err := strconv.ParseFloat(weight, 64)
		return !given || err == nil && q > 0
	}
	return false
}
