package testkit

import (
	"bytes"
	"strings"
	"sync"
)

// Output collects what a process writes, whole and line by line. Several writers
// may feed it at once: a line is what one writer wrote up to a newline.
type output struct {
	mu      sync.Mutex
	lines   []string
	ended   bool
	changed chan struct{} // closed and replaced at every change
}

func newOutput() *output {
	return &output{changed: make(chan struct{})}
}

// stream is one writer's way into an output: standard output or standard error.
type stream struct {
	out  *output
	text bytes.Buffer // guarded by out.mu
	rest int          // where in text the unfinished line begins
}

func (s *stream) Write(p []byte) (int, error) {
	s.out.mu.Lock()
	defer s.out.mu.Unlock()
	s.text.Write(p)
	for {
		tail := s.text.Bytes()[s.rest:]
		i := bytes.IndexByte(tail, '\n')
		if i < 0 {
			break
		}
		s.out.lines = append(s.out.lines, string(tail[:i]))
		s.rest += i + 1
	}
	s.out.notify()
	return len(p), nil
}

func (s *stream) String() string {
	s.out.mu.Lock()
	defer s.out.mu.Unlock()
	return s.text.String()
}

// end makes lines of what the streams left without a newline.
func (o *output) end(streams ...*stream) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, s := range streams {
		if tail := s.text.Bytes()[s.rest:]; len(tail) > 0 {
			o.lines = append(o.lines, string(tail))
			s.rest = s.text.Len()
		}
	}
	o.ended = true
	o.notify()
}

func (o *output) notify() {
	close(o.changed)
	o.changed = make(chan struct{})
}

// find returns the first line from index from on that contains substr, and the
// index after it. If there is none, next is where to go on searching, ended says
// that no line can come any more, and changed is closed when there is news.
func (o *output) find(from int, substr string) (line string, next int, found, ended bool, changed <-chan struct{}) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for i := from; i < len(o.lines); i++ {
		if strings.Contains(o.lines[i], substr) {
			return o.lines[i], i + 1, true, o.ended, o.changed
		}
	}
	return "", max(from, len(o.lines)), false, o.ended, o.changed
}

func (o *output) all() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return append([]string(nil), o.lines...)
}
