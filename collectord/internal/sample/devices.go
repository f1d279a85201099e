package sample

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	"belabox-metrics/shared/config"
)

// relistInterval is how often a collector looks anew at what hardly ever
// changes: which sensors there are, what sector size a disk has. A device that
// goes away or comes is noticed at once where the kernel lists them in each reading.
const relistInterval = time.Minute

// minute is the minute of the wall clock in which what is slow or hardly changes was last read.
// The zero value is none.
type minute struct {
	number int64
	known  bool
}

// begins reports whether this is the first tick of a minute.
func (m *minute) begins(at time.Time) bool {
	now := minute{at.Unix() / 60, true}
	is := now != *m
	*m = now
	return is
}

// devices keeps a T for each device in a kernel file, and removes it as soon as the device is no
// longer in the file. A device that returns is a new one, and its first reading gives no rate. So
// is one that has got the name of another, which its collector finds out.
type devices[T any] struct {
	create func(name string) *T
	known  map[string]*device[T]
	round  uint64 // number of this tick
	seen   int    // devices seen in it
	left   []*T   // what was forgotten since begin
}

type device[T any] struct {
	state *T
	round uint64 // when it was last seen
}

func newDevices[T any](create func(name string) *T) *devices[T] {
	return &devices[T]{create: create, known: make(map[string]*device[T])}
}

// begin starts a tick.
func (d *devices[T]) begin() {
	clear(d.left)
	d.round, d.seen, d.left = d.round+1, 0, d.left[:0]
}

// replace forgets a device whose name another one has got. It is to be called before see.
func (d *devices[T]) replace(name []byte) {
	d.left = append(d.left, d.known[string(name)].state)
	delete(d.known, string(name))
}

// get returns what is kept of a device, nil if it is not known.
func (d *devices[T]) get(name []byte) *T {
	if dev := d.known[string(name)]; dev != nil {
		return dev.state
	}
	return nil
}

// see returns what is kept of a device, nil if this tick has seen it already.
// created is true if it was not there in the previous tick. Looking up a known
// device allocates nothing.
func (d *devices[T]) see(name []byte) (state *T, created bool) {
	dev := d.known[string(name)]
	if dev == nil {
		key := string(name)
		dev = &device[T]{state: d.create(key)}
		d.known[key] = dev
		created = true
	}
	if dev.round == d.round {
		return nil, false
	}
	dev.round = d.round
	d.seen++
	return dev.state, created
}

// end removes the devices that are not in this tick, and returns whether there were any.
func (d *devices[T]) end() (forgot bool) {
	if d.seen == len(d.known) {
		return false
	}
	for name, dev := range d.known {
		if dev.round != d.round {
			d.left = append(d.left, dev.state)
			delete(d.known, name)
		}
	}
	return true
}

// compileNames compiles the expressions of a configuration key, each for whole
// names, and reports all that are wrong.
func compileNames(key string, exprs []string) ([]*regexp.Regexp, error) {
	var list []*regexp.Regexp
	var faults []error
	for _, expr := range exprs {
		re, err := config.CompileName(expr)
		if err != nil {
			faults = append(faults, fmt.Errorf("%s: %q: %w", key, expr, err))
			continue
		}
		list = append(list, re)
	}
	return list, errors.Join(faults...)
}

func matchesAny(list []*regexp.Regexp, name string) bool {
	return slices.ContainsFunc(list, func(re *regexp.Regexp) bool { return re.MatchString(name) })
}

// labelText makes a label value of a name that the kernel takes as bytes. What
// is not UTF-8 is written as \xff and the like: a tag would make U+FFFD of every
// such byte, and then two names could be one.
func labelText(name string) string {
	if utf8.ValidString(name) {
		return name
	}
	quoted := strconv.Quote(name)
	return quoted[1 : len(quoted)-1]
}
