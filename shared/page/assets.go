package page

import (
	"embed"
	"net/http"
	"path"
)

//go:embed assets
var folder embed.FS

// asset is a file of the page. It is served from the binary as it stands there:
// nothing is kept in memory for it.
type asset struct {
	file, kind, tag string
}

// kinds are the content types of the files.
var kinds = map[string]string{
	".html": "text/html; charset=utf-8",
	".css":  "text/css; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".svg":  "image/svg+xml",
	".txt":  "text/plain; charset=utf-8",
}

// assets are the files by path.
var assets = func() map[string]asset {
	all := map[string]asset{}
	for url, name := range map[string]string{
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
	} {
		file := path.Join("assets", name)
		body, err := folder.ReadFile(file)
		if err != nil {
			panic(err) // a test asks for each
		}
		all[url] = asset{file, kinds[path.Ext(name)], tagOf(body)}
	}
	return all
}()

// ServeHTTP implements http.Handler.
func (a asset) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := folder.ReadFile(a.file)
	if err != nil {
		panic(err) // it was there at the start
	}
	w.Header().Set("Content-Type", a.kind)
	send(w, r, a.tag, body)
}
