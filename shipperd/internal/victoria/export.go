package victoria

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strconv"

	"belabox-metrics/shared/store"
)

const (
	rowsPerLine    = 1000      // requested, so that lines stay short
	maxLineBytes   = 4 << 20   // of an exported line
	maxExportBytes = 256 << 20 // of all lines of one request, decompressed
)

// Export queries the samples from startMS to endMS, both inclusive, of the
// series that sel picks, and calls each for every line of the answer: the labels
// of a series, sorted by name, and timestamps in milliseconds. A series may come
// in several lines, in any order, with the samples of a line in time order. Both
// slices are valid during the call only. An error of each ends the export and is
// returned as it is.
//
// What each has seen counts only when Export returns nil: it returns an *Error for an answer that
// was cut off or garbled. A sample that is stored twice comes twice, unless the server
// deduplicates. Deduplication is never bypassed (reduce_mem_usage=1): VictoriaMetrics 1.79 to
// 1.150 would then put samples of one series under the name of another, once any client has made
// a plain export. Values are not passed on: the server keeps only 12 to 15 digits, so they prove
// nothing.
func (c *Client) Export(ctx context.Context, sel Selector, startMS, endMS int64, each func(labels []store.Tag, timestamps []int64) error) error {
	form := url.Values{}
	form.Set("start", seconds(startMS))
	form.Set("end", seconds(endMS))
	form.Set("max_rows_per_line", strconv.Itoa(rowsPerLine))
	for _, part := range sel.within(startMS, endMS) {
		form.Set("match[]", part.String())
		x, err := c.read(ctx, "export from", c.exportURL, form, true)
		if err != nil {
			return err
		}
		samples, err := x.exported(each)
		x.end()
		if err != nil {
			return err
		}
		if !x.endIsMarked() {
			if err := x.isWhole(ctx, part, startMS, endMS, samples); err != nil {
				return err
			}
		}
		x.noteTime(Reading, samples > 0 || x.own())
	}
	return nil
}

// isWhole checks an answer that ends with its connection, as in HTTP/1.0: it may have been cut
// off between two lines. A count is complete in itself, and must give the same number.
func (x *exchange) isWhole(ctx context.Context, sel Selector, startMS, endMS, samples int64) error {
	n, err := x.c.Count(ctx, sel, startMS, endMS)
	if errors.Is(err, ErrNotSupported) {
		return x.distrust("the answer has no length and no mark at its end, and the server does not count: it may have been cut off")
	}
	if err == nil && n != samples {
		err = x.distrust("the answer has no length and no mark at its end, and %d of %d samples: it was cut off", samples, n)
	}
	return err
}

// errCaller wraps an error of the function that was handed to Export.
type errCaller struct{ error }

// exported reads the lines of an answer and returns how many samples they have.
func (x *exchange) exported(each func([]store.Tag, []int64) error) (samples int64, err error) {
	if x.isPage(nil) {
		return 0, x.webPage()
	}
	var p lineParser
	err = eachLine(x.resp.Body, func(text []byte) error {
		if samples == 0 && x.isPage(text) {
			return x.webPage()
		}
		if err := p.parse(text); err != nil {
			return x.distrust("the exported line %s: %w", x.quote(text), err)
		}
		samples += int64(len(p.timestamps))
		if err := each(p.labels, p.timestamps); err != nil {
			return errCaller{err}
		}
		return nil
	})
	var ours *Error
	var caller errCaller
	switch {
	case err == nil:
		return samples, nil
	case errors.As(err, &caller):
		return samples, caller.error
	case errors.As(err, &ours):
		return samples, ours
	case errors.Is(err, errTooLong):
		return samples, x.distrust("%w", err)
	}
	return samples, x.fail(fmt.Errorf("the answer broke off: %w", err))
}

// endIsMarked reports whether it would be noticed if the answer was cut off: it is compressed,
// chunked or has a length.
func (x *exchange) endIsMarked() bool {
	_, compressed := x.resp.Body.(*gzipBody)
	return compressed || x.resp.ContentLength >= 0 || slices.Contains(x.resp.TransferEncoding, "chunked")
}

var errTooLong = errors.New("the answer or one of its lines is too long")

// eachLine calls f for every line that is not empty.
func eachLine(r io.Reader, f func(text []byte) error) error {
	limited := &io.LimitedReader{R: r, N: maxExportBytes + 1}
	in := bufio.NewReaderSize(limited, 64<<10)
	var long []byte // a line that does not fit in the reader
	for {
		text, err := in.ReadSlice('\n')
		if limited.N == 0 {
			return errTooLong
		}
		if err == bufio.ErrBufferFull || len(long) > 0 {
			if long = append(long, text...); len(long) > maxLineBytes {
				return errTooLong
			}
			text = long
		}
		if err == bufio.ErrBufferFull {
			continue
		}
		long = long[:0]
		if err != nil && err != io.EOF {
			return err
		}
		if text := bytes.TrimSpace(text); len(text) > 0 {
			if err := f(text); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return nil
		}
	}
}
