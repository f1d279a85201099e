// Package truetime finds out the true time of clock epochs (docs/decisions/0009-true-time.md). It
// is arithmetic: but for Here it reads no clock, no file and no server.
//
// It promises that epochs are corrected in the order of their keys, so that those without a
// correction are the last ones; that a correction follows from what is known at that moment and
// from earlier corrections, which it never contradicts; that a synchronised clock is right,
// whatever a server says; and that no two samples get the same millisecond where ticks are
// multiples of 10 ms.
package truetime

import (
	"math"
	"slices"

	"belabox-metrics/shared/store"
)

const (
	// Right is how far a clock may be from the server's to count as right, in milliseconds: Date
	// has whole seconds, and a clock that somebody has set is smoother than that.
	Right = 2000
	// grid is what the milliseconds of ticks are multiples of.
	grid = 10
	// plausible is the first millisecond that a clock may say to be believed without any witness,
	// 2000-01-01: clocks that were never set begin at 1970.
	plausible = 946_684_800_000
	never     = math.MinInt64
)

// Present is what is known of the present boot. All numbers are milliseconds.
type Present struct {
	Boot          string // boot id
	BootMS        int64  // CLOCK_BOOTTIME
	WallMinusBoot int64  // wall clock minus CLOCK_BOOTTIME
	Synchronised  bool   // the clock is
	Server        Server
}

// Server is what the server says about the time.
type Server struct {
	Answer Answer
	Offset int64 // its time minus CLOCK_BOOTTIME
}

// Answer is the kind of it.
type Answer uint8

// The kinds.
const (
	Unknown  Answer = iota // not reached, or not confirmed
	Known                  // by the rules of docs/decisions/0008-evidence.md
	Timeless               // it was reached and gives no time: the wall clock counts, unless it is Wrong
)

// offset returns true time minus CLOCK_BOOTTIME in the present boot, without looking at epochs.
func (p Present) offset() (ms int64, how store.How) {
	switch {
	case p.Synchronised:
		return p.WallMinusBoot, store.HowKernel
	case p.Server.Answer == Known:
		return p.Server.Offset, store.HowServer
	case p.Server.Answer == Timeless:
		return p.WallMinusBoot, store.HowUnconfirmed
	}
	return 0, store.HowUnknown
}

// Now returns the true time, in milliseconds since 1970: by the epochs of this boot, else by what
// is known besides. ok is false if neither is known.
func Now(epochs []store.Epoch, p Present) (ms int64, ok bool) {
	for i := len(epochs) - 1; i >= 0 && epochs[i].Boot == p.Boot && p.Boot != ""; i-- {
		if e := epochs[i]; e.How == store.HowUnconfirmed {
			return p.WallMinusBoot + p.BootMS, true
		} else if e.How != store.HowUnknown {
			return trueMinusBoot(e) + p.BootMS, true
		}
	}
	off, how := p.offset()
	return off + p.BootMS, how != store.HowUnknown
}

// trueMinusBoot is true time minus CLOCK_BOOTTIME in the boot of a corrected epoch.
func trueMinusBoot(e store.Epoch) int64 { return e.WallMinusBoot + e.TrueOffset - e.WallOffset }

// Wrong reports whether the clock of this boot is behind for certain: it says that the boot had its
// first row, or is now, before the last row of an earlier boot whose clock was believed, or before
// 2000.
func Wrong(epochs []store.EpochSpan, p Present) bool {
	uptime, last := p.BootMS, int64(plausible)
	for _, e := range epochs {
		switch {
		case e.Boot == p.Boot && p.Boot != "":
			uptime = min(uptime, e.FromMS+e.WallOffset-e.WallMinusBoot)
		case e.Rows && (e.WallOffset == 0 || e.How != store.HowUnknown && e.How != store.HowUnconfirmed):
			last = max(last, e.ToMS+e.Offset())
		}
	}
	return p.WallMinusBoot+uptime <= last
}

// Derive returns the epochs whose true time can be known now and is not recorded yet, with it.
// epochs are all those of a file, in order.
func Derive(epochs []store.EpochSpan, p Present) []store.Epoch {
	if p.Server.Answer == Timeless && Wrong(epochs, p) {
		p.Server.Answer = Unknown
	}
	d := deriver{p: p, lastMS: never}
	for len(epochs) > 0 {
		n := 1
		for n < len(epochs) && epochs[n].Boot == epochs[0].Boot && epochs[0].Boot != "" {
			n++
		}
		d.boots = append(d.boots, newBoot(epochs[:n], p))
		epochs = epochs[n:]
	}
	for i, b := range d.boots {
		switch {
		case b.state == waiting:
			return d.corrections
		case b.state == placed:
			upper, known := d.next(i + 1)
			if !known {
				return d.corrections
			}
			d.place(b, upper, d.boots[i:])
		}
		d.decide(b)
		d.placed = b.state == placed
	}
	return d.corrections
}

// boot is the epochs of one boot.
type boot struct {
	epochs []store.EpochSpan
	offset []int64 // of each: true time minus the key's millisecond
	how    []store.How
	state  bootState
}

type bootState uint8

const (
	decided bootState = iota // offset and how are known
	placed                   // it ended without knowing: between its neighbours
	waiting                  // it is the present one, and knows nothing yet
)

// newBoot applies the rules that look at one boot alone.
func newBoot(epochs []store.EpochSpan, p Present) *boot {
	b := &boot{epochs: epochs, offset: make([]int64, len(epochs)), how: make([]store.How, len(epochs))}
	for i, e := range epochs {
		switch {
		case e.How != store.HowUnknown:
			b.set(i, e.TrueOffset, e.How)
		case e.Boot == "":
			b.set(i, e.WallOffset, store.HowUnconfirmed)
		case b.wasSynchronised(i):
			b.set(i, e.WallOffset, store.HowClock)
		}
	}
	if b.complete() {
		return b
	}
	present := epochs[0].Boot == p.Boot
	if present && !b.synchronised() {
		// What the server said earlier is not used again: an oscillator drifts by seconds a day.
		b.byPresent(p)
	} else {
		b.spread()
	}
	if !b.complete() {
		b.state = placed
		if present {
			b.state = waiting
		}
	}
	return b
}

func (b *boot) set(i int, offset int64, how store.How) { b.offset[i], b.how[i] = offset, how }

func (b *boot) complete() bool {
	return !slices.Contains(b.how, store.HowUnknown)
}

// synchronised reports whether the clock ever was.
func (b *boot) synchronised() bool {
	for i, how := range b.how {
		if how == store.HowKernel || how == store.HowClock && b.wasSynchronised(i) {
			return true
		}
	}
	return false
}

func (b *boot) wasSynchronised(i int) bool {
	s := b.epochs[i].Synchronised
	return s.Valid && s.Bool
}

// boottime returns true time minus CLOCK_BOOTTIME by a decided epoch.
func (b *boot) boottime(i int) int64 {
	return b.epochs[i].WallMinusBoot + b.offset[i] - b.epochs[i].WallOffset
}

// setBoottime decides an epoch by true time minus CLOCK_BOOTTIME.
func (b *boot) setBoottime(i int, trueMinusBoot int64, how store.How) {
	b.set(i, trueMinusBoot-b.epochs[i].WallMinusBoot+b.epochs[i].WallOffset, how)
}

// spread decides the open epochs by a decided one: the next that follows, else the last before.
// CLOCK_BOOTTIME is the same in both.
func (b *boot) spread() {
	as := func(i, from int) {
		off, how := b.boottime(from), b.how[from]
		switch {
		case how == store.HowUnconfirmed:
			b.set(i, b.epochs[i].WallOffset, how) // each by its own clock
			return
		case how == store.HowClock && b.wasSynchronised(from):
			how = store.HowKernel
		case how == store.HowClock:
			how = store.HowServer
		}
		b.setBoottime(i, off, how)
	}
	source := -1
	for i := len(b.how) - 1; i >= 0; i-- {
		switch {
		case b.how[i] != store.HowUnknown:
			source = i
		case source >= 0:
			as(i, source)
		}
	}
	for i := 1; i < len(b.how); i++ {
		if b.how[i] == store.HowUnknown && b.how[i-1] != store.HowUnknown {
			as(i, i-1)
		}
	}
}

// byPresent decides the present boot by what is known besides its epochs. A clock that agrees is
// right: it is smoother than the server's time, so the other epochs of the boot go by it, too.
func (b *boot) byPresent(p Present) {
	off, how := p.offset()
	clock := off
	switch how {
	case store.HowUnknown:
		return
	case store.HowUnconfirmed:
		for i, e := range b.epochs {
			switch {
			case b.how[i] != store.HowUnknown:
			case e.WallOffset != 0 && !near(e.WallMinusBoot, off): // the clock was not believed, and then set
				b.setBoottime(i, off, how)
			default:
				b.set(i, e.WallOffset, how)
			}
		}
		return
	}
	if near(p.WallMinusBoot, off) { // collectord may not have seen yet that it was set
		clock = p.WallMinusBoot
	}
	for i := range b.epochs {
		if b.how[i] == store.HowUnknown && near(b.epochs[i].WallMinusBoot, off) {
			clock = b.epochs[i].WallMinusBoot
		}
	}
	for i := range b.epochs {
		switch {
		case b.how[i] != store.HowUnknown:
		case b.epochs[i].WallMinusBoot == clock && near(clock, off):
			b.set(i, b.epochs[i].WallOffset, store.HowClock)
		default:
			b.setBoottime(i, clock, how)
		}
	}
}

// near reports whether a wall clock is right.
func near(wallMinusBoot, trueMinusBoot int64) bool {
	distance := wallMinusBoot - trueMinusBoot
	return max(distance, -distance) <= Right
}

// first and last return CLOCK_BOOTTIME at the first and the last row.
func (b *boot) first() int64 { return b.uptime(0, b.epochs[0].FromMS) }
func (b *boot) last() int64  { n := len(b.epochs) - 1; return b.uptime(n, b.epochs[n].ToMS) }

func (b *boot) uptime(i int, ms int64) int64 {
	return ms + b.epochs[i].WallOffset - b.epochs[i].WallMinusBoot
}

// deriver goes through the boots of a file in order.
type deriver struct {
	p           Present
	boots       []*boot
	lastMS      int64 // the last true time in front
	placed      bool  // the boot in front was placed between its neighbours
	spans       []span
	corrections []store.Epoch
}

// span is the true time of an epoch, for the order.
type span struct{ offset, toMS int64 }

// next returns the first true time of the boots from i on that does not depend on their neighbours,
// or the present.
func (d *deriver) next(i int) (ms int64, known bool) {
	for ; i < len(d.boots); i++ {
		b := d.boots[i]
		switch b.state {
		case decided:
			return b.epochs[0].FromMS + b.offset[0], true
		case waiting:
			return 0, false
		}
	}
	off, how := d.p.offset()
	return off + d.p.BootMS, how != store.HowUnknown
}

// place decides a boot that ended without knowing. rest are that boot and all that follow.
func (d *deriver) place(b *boot, upper int64, rest []*boot) {
	if upper < plausible { // the next boot has no true time either
		for i, e := range b.epochs {
			b.set(i, e.WallOffset, store.HowUnconfirmed)
		}
		return
	}
	first, last := b.first(), b.last()
	// A boot in front that was placed, too, has the same bound: the order of the two is kept in any
	// case.
	lower, inFront := d.lastMS, d.lastMS != never && (d.lastMS < upper || d.placed)
	for _, r := range following(rest) { // the next ones need room
		upper -= r.last() - r.first() + 1
	}
	if !inFront {
		lower = plausible - 1
	}
	for i := len(b.epochs) - 1; i >= 0; i-- {
		if off := b.epochs[i].WallMinusBoot; off+first > lower && off+last < upper {
			b.settle(off)
			return
		}
	}
	switch {
	case !inFront: // as late as the boots up to the next one allow
		off := upper - last - 1
		for _, r := range following(rest) {
			off -= r.first() // the rest of their time is in upper
		}
		b.settle(off)
	case first > 0 && lower+last < upper: // it began after the last sample in front
		b.settle(lower)
	default:
		b.settle(lower + 1 - first)
	}
}

// following returns the boots behind the first one that are to be placed with it.
func following(boots []*boot) []*boot {
	n := 1
	for n < len(boots) && boots[n].state == placed {
		n++
	}
	return boots[1:n]
}

func (b *boot) settle(trueMinusBoot int64) {
	for i := range b.epochs {
		if b.how[i] == store.HowUnknown {
			b.setBoottime(i, trueMinusBoot, store.HowEstimated)
		}
	}
}

// decide takes the corrections of a boot over, in order.
func (d *deriver) decide(b *boot) {
	for i, e := range b.epochs {
		if e.How == store.HowUnknown {
			offset := d.apart(e.FromMS, b.offset[i])
			d.corrections = append(d.corrections, corrected(e.Epoch, offset, b.how[i]))
			b.offset[i] = offset
		}
		if e.Rows {
			d.spans = append(d.spans, span{b.offset[i], e.ToMS + b.offset[i]})
			d.lastMS = max(d.lastMS, e.ToMS+b.offset[i])
		}
	}
}

func corrected(e store.Epoch, offset int64, how store.How) store.Epoch {
	e.TrueOffset, e.How = offset, how
	return e
}

// apart moves an offset by some milliseconds if samples from fromMS on might get the time of
// earlier ones.
func (d *deriver) apart(fromMS, offset int64) int64 {
	var taken [grid]bool
	for _, s := range d.spans {
		if fromMS+offset <= s.toMS {
			taken[mod(s.offset)] = true
		}
	}
	for shift := range int64(grid) {
		if !taken[mod(offset+shift)] {
			return offset + shift
		}
	}
	return d.lastMS + 1 - fromMS
}

func mod(ms int64) int64 { return (ms%grid + grid) % grid }
