package ship

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"

	"belabox-metrics/shipperd/internal/victoria"
)

// breaking is a link on which requests with more than most samples break off
// half-way, and nothing of them arrives.
type breaking struct {
	Server
	most   int
	broken int
}

func (b *breaking) Import(ctx context.Context, body []byte, id string) (victoria.Reply, error) {
	if countSamples(body) <= b.most {
		return b.Server.Import(ctx, body, id)
	}
	b.broken++
	return victoria.Reply{}, &victoria.Error{Class: victoria.ClassTimeout, Ambiguous: true, Err: errors.New("no answer in time")}
}

func countSamples(body []byte) (n int) {
	z, err := gzip.NewReader(bytes.NewReader(body))
	if err != nil {
		panic(err)
	}
	for dec := json.NewDecoder(z); dec.More(); {
		var line struct{ Timestamps []int64 }
		if err := dec.Decode(&line); err != nil {
			panic(err)
		}
		n += len(line.Timestamps)
	}
	return n
}
