package main

import (
	"fmt"
	"io"
	"os"

	"belabox-metrics/shared/human"
	"belabox-metrics/shipperd/internal/ship"
)

// progressLine shows the progress of a long command: one line that is overwritten on a terminal,
// nothing elsewhere.
type progressLine struct {
	w     *os.File // nil = no terminal
	drawn bool
}

func newProgressLine(w io.Writer) *progressLine {
	return &progressLine{w: human.Terminal(w)}
}

func (p *progressLine) show(c ship.Counts) {
	if p.w == nil {
		return
	}
	p.drawn = true
	fmt.Fprintf(p.w, "\r\x1b[Kuploaded %d, verified %d, sent again %d, %.1f MB sent", c.Uploaded, c.Verified, c.Requeued, float64(c.BytesSent)/1e6)
}

// rows shows the progress of an audit.
func (p *progressLine) rows(done, total int64) {
	if p.w == nil || total == 0 {
		return
	}
	p.drawn = true
	fmt.Fprintf(p.w, "\r\x1b[K%d of %d rows compared", done, total)
}

func (p *progressLine) end() {
	if p.drawn {
		fmt.Fprintln(p.w)
	}
}
