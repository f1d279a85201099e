package chunk

import (
	"crypto/sha256"

	"belabox-metrics/shared/store"
)

// Request is what one POST carries: the lines of one or several bodies in one gzip stream, so that
// they share its headers and its dictionary. It does not change once it is made.
type Request struct {
	Gzip   []byte
	Bodies []*Body // in the order of their lines; never empty
}

// Rows returns how many rows the bodies have.
func (r *Request) Rows() (n int) {
	for _, b := range r.Bodies {
		n += len(b.Keys)
	}
	return n
}

// Line returns the body that has line n of the request, and that line's number in it. The first
// line is 1; nil = the request has no such line.
func (r *Request) Line(n int) (*Body, int) {
	for _, b := range r.Bodies {
		if n <= b.Lines() {
			return b, n
		}
		n -= b.Lines()
	}
	return nil, 0
}

// Lines returns the number of lines.
func (r *Request) Lines() (n int) {
	for _, b := range r.Bodies {
		n += b.Lines()
	}
	return n
}

// Body is the lines of one chunk.
type Body struct {
	Keys store.KeySet // ascending
	// Contiguous says that Keys are a gap-free run of the rows given to the
	// Builder: all rows given between the first and the last key are in it.
	Contiguous bool
	Bytes      int               // its share of the compressed request
	Hash       [sha256.Size]byte // of the lines before compression
	Raw        int               // bytes of the lines before compression
	Clamped    int               // samples whose timestamp was moved to the edge

	samples      []Sample // line by line
	ends         []int32  // where each line ends in samples
	minMS, maxMS int64
}

// Sample is one sample of a line.
type Sample struct {
	Key         store.Key
	TimestampMS int64 // as sent: true time, or clamped
}

// Lines returns the number of lines.
func (b *Body) Lines() int { return len(b.ends) }

// Line returns the samples of line n in the order in which they stand there,
// which is that of their timestamps as sent. The first line is 1; a line that
// the body does not have gives nil.
func (b *Body) Line(n int) []Sample {
	if n < 1 || n > len(b.ends) {
		return nil
	}
	start := int32(0)
	if n > 1 {
		start = b.ends[n-2]
	}
	return b.samples[start:b.ends[n-1]:b.ends[n-1]]
}

// Range returns the first and the last timestamp as sent.
func (b *Body) Range() (minMS, maxMS int64) { return b.minMS, b.maxMS }
