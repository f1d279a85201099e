package victoria

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/klauspost/compress/gzip"
)

// plain returns the body of an answer without its compression. An encoding that
// was not requested is an error when the body is read: the status may be all that
// matters.
func plain(resp *http.Response) io.ReadCloser {
	encoding := resp.Header.Get("Content-Encoding")
	switch strings.ToLower(strings.TrimSpace(encoding)) {
	case "", "identity":
		return resp.Body
	case "gzip":
		return &gzipBody{under: resp.Body}
	}
	return &gzipBody{under: resp.Body, err: fmt.Errorf("the answer has the encoding %q", encoding)}
}

// gzipBody reads one gzip member and then requires the end of the answer, so that a truncated
// answer is not taken for a complete one.
type gzipBody struct {
	under io.ReadCloser
	in    *bufio.Reader
	zip   *gzip.Reader
	err   error
}

func (g *gzipBody) Read(p []byte) (n int, err error) {
	if g.err != nil {
		return 0, g.err
	}
	if g.zip == nil {
		g.in = bufio.NewReader(g.under)
		if g.err = g.begin(); g.err != nil {
			return 0, g.err
		}
	}
	if n, err = g.zip.Read(p); err == io.EOF {
		if _, more := g.in.ReadByte(); more == nil {
			err = errors.New("something follows the end of the gzip data")
		} else {
			err = more
		}
	}
	g.err = err
	return n, err
}

// begin reads the gzip header. An answer of no bytes at all has none.
func (g *gzipBody) begin() (err error) {
	if _, err := g.in.Peek(1); err != nil {
		return err
	}
	if g.zip, err = gzip.NewReader(g.in); err == nil {
		g.zip.Multistream(false)
	}
	return err
}

func (g *gzipBody) Close() error { return g.under.Close() }
