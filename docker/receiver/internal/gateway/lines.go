package gateway

import (
	"bufio"
	"errors"
	"fmt"
	"io"

	"belabox-metrics/docker/receiver/internal/line"
)

// maxLineBytes bounds one line of an import. VictoriaMetrics has the same limit (-import.maxLineLen).
const maxLineBytes = 10 << 20

// errLineTooLong refuses a line that was passed over; the next one can be read.
var errLineTooLong = &line.Error{Reason: fmt.Sprintf("line is longer than %d bytes", maxLineBytes), Samples: 1}

// lineReader splits text into lines.
type lineReader struct {
	r   *bufio.Reader
	buf []byte
}

// next returns the next line, with its line end where it has one; io.EOF after the last. The line is the caller's until
// the next call.
func (l *lineReader) next() ([]byte, error) {
	l.buf = l.buf[:0]
	length := 0
	for {
		piece, err := l.r.ReadSlice('\n')
		length += len(piece)
		if err == nil && length == len(piece) && length <= maxLineBytes {
			return piece, nil // the common case: it lies in the reader's buffer as a whole
		}
		if length <= maxLineBytes {
			l.buf = append(l.buf, piece...)
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case err == io.EOF && length == 0:
			return nil, io.EOF
		case err != nil && err != io.EOF:
			return nil, err
		case length > maxLineBytes:
			return nil, errLineTooLong
		}
		return l.buf, nil
	}
}
