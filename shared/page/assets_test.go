package page

import (
	"bytes"
	"compress/gzip"
	"context"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"
)

// TestAssets_AllServed: each file that the binary has is served, and none is large.
func TestAssets_AllServed(t *testing.T) {
	t.Parallel()
	served := map[string]bool{}
	for _, name := range assets {
		served[string(name)] = true
	}
	total := 0
	err := fs.WalkDir(files, "assets", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		if !served[strings.TrimPrefix(name, "assets/")] {
			t.Errorf("%s is in the binary, but has no path", name)
		}
		body, err := files.ReadFile(name)
		total += len(compress(body, gzip.DefaultCompression))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if total > 50_000 {
		t.Errorf("the page takes %d bytes on the wire, want at most 50 kB", total)
	}
}

func unpack(body []byte) ([]byte, error) {
	r, err := gzip.NewReader(bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(r)
}

// fetch asks for a path with an Accept-Encoding of its own.
func fetch(t *testing.T, url, accept, tag string) (*http.Response, []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(context.Background(), "GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept-Encoding", accept)
	req.Header.Set("If-None-Match", tag)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var body bytes.Buffer
	if _, err := body.ReadFrom(resp.Body); err != nil {
		t.Fatal(err)
	}
	return resp, body.Bytes()
}

func TestAssets_Encoding(t *testing.T) {
	t.Parallel()
	url := serveMux(t, ramp(t, time.Second, 0, time.Now()))
	for path, name := range assets {
		want, err := os.ReadFile("assets/" + string(name))
		if err != nil {
			t.Fatal(err)
		}
		plain, body := fetch(t, url+path, "identity", "")
		if !bytes.Equal(body, want) || plain.Header.Get("Content-Encoding") != "" {
			t.Errorf("%s for a client without gzip: got %d bytes, encoded %q", path, len(body), plain.Header.Get("Content-Encoding"))
		}
		zipped, body := fetch(t, url+path, "gzip, br", "")
		got, err := unpack(body)
		if err != nil || !bytes.Equal(got, want) || zipped.Header.Get("Content-Encoding") != "gzip" {
			t.Errorf("%s for a browser: %v, %d bytes, encoded %q", path, err, len(got), zipped.Header.Get("Content-Encoding"))
		}
		if zipped.Header.Get("Vary") != "Accept-Encoding" || zipped.Header.Get("ETag") == plain.Header.Get("ETag") || zipped.Header.Get("Content-Type") == "" {
			t.Errorf("%s: a cache would give one client what is another's: %v and %v", path, zipped.Header, plain.Header)
		}
		if again, body := fetch(t, url+path, "gzip", zipped.Header.Get("ETag")); again.StatusCode != 304 || len(body) != 0 {
			t.Errorf("%s a second time: got %d and %d bytes, want 304", path, again.StatusCode, len(body))
		}
	}
}

// TestAnswer_Encoding: a large answer is compressed for a browser, a small one is not.
func TestAnswer_Encoding(t *testing.T) {
	t.Parallel()
	large := bytes.Repeat([]byte("12.5,"), zipFrom)
	for _, want := range [][]byte{large, large[:zipFrom-1]} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { answer(w, r, want) }))
		plain, body := fetch(t, server.URL, "identity", "")
		if !bytes.Equal(body, want) || plain.Header.Get("Content-Encoding") != "" {
			t.Errorf("%d bytes for a client without gzip: got %d, encoded %q", len(want), len(body), plain.Header.Get("Content-Encoding"))
		}
		zipped, body := fetch(t, server.URL, "gzip", "")
		if zipped.Header.Get("Vary") != "Accept-Encoding" || len(want) >= zipFrom == (zipped.Header.Get("ETag") == plain.Header.Get("ETag")) {
			t.Errorf("a cache would give one client what is another's: %v and %v", zipped.Header, plain.Header)
		}
		if again, body := fetch(t, server.URL, "gzip", zipped.Header.Get("ETag")); again.StatusCode != 304 || len(body) != 0 {
			t.Errorf("a second time: got %d and %d bytes, want 304", again.StatusCode, len(body))
		}
		server.Close()
		if len(want) < zipFrom {
			if !bytes.Equal(body, want) {
				t.Errorf("got %d bytes, want %d as they are", len(body), len(want))
			}
			continue
		}
		if got, err := unpack(body); err != nil || !bytes.Equal(got, want) {
			t.Errorf("got %d bytes, %v", len(got), err)
		}
	}
}

func TestTakesGzip(t *testing.T) {
	t.Parallel()
	for accept, want := range map[string]bool{
		"": false, "gzip": true, "deflate, gzip;q=1.0, *;q=0.5": true, "br, GZIP ; q=0.2": true,
		"gzip;q=0": false, "gzip; q=0.000": false, "gzip\t;\tQ=0": false, "x-gzip": false, "identity": false, "gzip;q=nonsense": false,
	} {
		if got := takesGzip(accept); got != want {
			t.Errorf("%q: got %v, want %v", accept, got, want)
		}
	}
}

func TestAssets_NoMarkupOfText(t *testing.T) {
	t.Parallel()
	for _, name := range assets {
		body, err := os.ReadFile("assets/" + string(name))
		if err != nil {
			t.Fatal(err)
		}
		for _, way := range []string{"innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("} {
			if strings.Contains(string(body), way) && !strings.Contains(string(name), "uplot/") {
				t.Errorf("%s has %s: text would become markup", name, way)
			}
		}
		for _, inline := range []string{" style=", "<style", " onclick=", " onerror=", "javascript:", "<script>"} {
			if strings.HasSuffix(string(name), ".html") && strings.Contains(string(body), inline) {
				t.Errorf("%s has %q, which the policy forbids", name, inline)
			}
		}
	}
}
