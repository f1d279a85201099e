package main

import (
	"fmt"
	"io"
	"os"

	"golang.org/x/term"

	"belabox-metrics/shipperd/internal/ship"
)

// progressLine shows the progress of a long command: one line that is overwritten on a terminal,
// nothing elsewhere.
type progressLine struct {
	w     io.Writer
	drawn bool
}

func newProgressLine(w io.Writer) *progressLine {
	if f, ok := w.(*os.File); !ok || !term.IsTerminal(int(f.Fd())) {
		w = nil
	}
	return &progressLine{w: w}
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
