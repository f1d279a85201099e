package chunk

import (
	"crypto/sha256"

	"belabox-metrics/shared/store"
)

// Body is one request. It does not change once it is made.
type Body struct {
	Keys store.KeySet // ascending
	// Contiguous says that Keys are a gap-free run of the rows given to the
	// Builder: all rows given between the first and the last key are in it.
	Contiguous bool
	Gzip       []byte            // the request's body
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
	TimestampMS int64 // as sent: not the key's where it was clamped
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
