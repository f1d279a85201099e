package page

import (
	"bytes"
	"compress/gzip"
	"embed"
	"net/http"
	"path"
	"strconv"
	"strings"
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

// ServeHTTP implements http.Handler. It compresses anew each time: a browser loads each file once,
// and keeping the result costs more memory than the time is worth.
func (a asset) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := files.ReadFile("assets/" + string(a))
	if err != nil {
		panic(err) // a test reads each
	}
	tag := tagOf(body)
	w.Header().Set("Content-Type", kinds[path.Ext(string(a))])
	w.Header().Set("Vary", "Accept-Encoding")
	if !takesGzip(r.Header.Get("Accept-Encoding")) {
		send(w, r, tag, body)
		return
	}
	w.Header().Set("Content-Encoding", "gzip")
	send(w, r, strings.TrimSuffix(tag, `"`)+`-gzip"`, compress(body))
}

func compress(body []byte) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
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
		weight, given := strings.CutPrefix(strings.ReplaceAll(parameters, " ", ""), "q=")
		q, err := strconv.ParseFloat(weight, 64)
		return !given || err == nil && q > 0
	}
	return false
}
