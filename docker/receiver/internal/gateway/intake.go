package gateway

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/klauspost/compress/gzip"
)

const (
	// maxHeldBytes bounds the memory of all bodies, and of the samples read from them, at any moment.
	maxHeldBytes = 256 << 20
	// maxDecodeWait is how long a body waits for others to be decoded.
	maxDecodeWait = 30 * time.Second
)

// intake reads the bodies of imports within bounds.
//
// A body is read whole before it is decoded. So a slow client holds what it has sent and nothing else, and the places
// for decoding, which are few because decoding multiplies a body's size, are held by work and never by waiting.
type intake struct {
	maxBody, maxDecoded, maxHeld int64

	held    atomic.Int64  // bytes in memory
	decoder chan struct{} // a place for each decoding
	gzips   sync.Pool     // of *gzip.Reader
}

func newIntake(maxBody, maxDecoded int64) *intake {
	return &intake{
		maxBody:    maxBody,
		maxDecoded: maxDecoded,
		maxHeld:    maxHeldBytes,
		decoder:    make(chan struct{}, runtime.GOMAXPROCS(0)),
	}
}

var errBusy = &fault{
	status: http.StatusServiceUnavailable, text: "busy with other requests; nothing was stored", retryAfter: time.Second,
}

// hold is the share of one request in the memory of all.
type hold struct {
	in    *intake
	bytes int64
}

// add takes n more bytes. The error means that there is no room.
func (h *hold) add(n int64) error {
	h.bytes += n
	if h.in.held.Add(n) > h.in.maxHeld {
		return errBusy
	}
	return nil
}

func (h *hold) release() {
	h.in.held.Add(-h.bytes)
	h.bytes = 0
}

// read reads the body as it was sent. The caller releases the hold, also after an error.
func (in *intake) read(w http.ResponseWriter, r *http.Request, h *hold) ([]byte, error) {
	if r.ContentLength > in.maxBody {
		return nil, in.tooLarge()
	}
	body, err := io.ReadAll(&heldReader{http.MaxBytesReader(w, r.Body, in.maxBody), h})
	if f, ok := errors.AsType[*fault](err); ok {
		return nil, f
	}
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return nil, in.tooLarge()
	}
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, fail(http.StatusRequestTimeout, "body did not arrive in time")
	case err != nil:
		return nil, fail(http.StatusBadRequest, "body did not arrive whole")
	case len(body) == 0:
		return nil, fail(http.StatusBadRequest, "body is empty")
	}
	return body, nil
}

func (in *intake) tooLarge() error {
	return fail(http.StatusRequestEntityTooLarge, "body is larger than %d bytes", in.maxBody)
}

// heldReader counts what it reads.
type heldReader struct {
	r io.Reader
	h *hold
}

func (r *heldReader) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	if n > 0 {
		if full := r.h.add(int64(n)); full != nil {
			return n, full
		}
	}
	return n, err
}

// decode calls yield with a reader of the lines in body, in one of the places for decoding.
func (in *intake) decode(ctx context.Context, body []byte, encoding string, yield func(*lineReader) error) error {
	wait := time.NewTimer(maxDecodeWait)
	defer wait.Stop()
	select {
	case in.decoder <- struct{}{}:
		defer func() { <-in.decoder }()
	case <-ctx.Done():
		return ctx.Err()
	case <-wait.C:
		return errBusy
	}

	var r io.Reader = bytes.NewReader(body)
	switch strings.ToLower(strings.TrimSpace(encoding)) {
	case "", "identity":
		if bytes.HasPrefix(body, []byte{0x1f, 0x8b}) {
			return fail(http.StatusBadRequest, "body is gzip, but there is no header Content-Encoding: gzip")
		}
	case "gzip", "x-gzip":
		z, _ := in.gzips.Get().(*gzip.Reader)
		if z == nil {
			z = new(gzip.Reader)
		}
		defer in.gzips.Put(z)
		if err := z.Reset(r); err != nil {
			return fail(http.StatusBadRequest, "body is not gzip, but the header says Content-Encoding: gzip")
		}
		r = z
	default:
		return fail(http.StatusUnsupportedMediaType, "Content-Encoding must be gzip or absent")
	}
	return yield(&lineReader{r: bufio.NewReader(&decodedReader{r, in.maxDecoded, in.maxDecoded})})
}

// decodedReader reads decoded text up to a limit: a gzip body of a few kilobytes may stand for gigabytes.
type decodedReader struct {
	r           io.Reader
	left, limit int64
}

func (d *decodedReader) Read(p []byte) (int, error) {
	n, err := d.r.Read(p)
	if d.left -= int64(n); d.left < 0 {
		return 0, fail(http.StatusRequestEntityTooLarge, "body is larger than %d bytes after decompression", d.limit)
	}
	if err != nil && err != io.EOF {
		err = fail(http.StatusBadRequest, "gzip stream is damaged or cut short: %v", err)
	}
	return n, err
}
