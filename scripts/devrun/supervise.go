package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"belabox-metrics/shared/probe"
)

const (
	readyLimit = 30 * time.Second
	stopLimit  = 10 * time.Second
)

// program is one thing to run.
type program struct {
	name  string
	path  string
	args  []string
	addr  string // host:port on which it listens
	ready string // path that answers 200 as soon as the program works
}

// errStopped means that a signal came before everything was up.
var errStopped = errors.New("stopped")

// supervise starts the programs in order, each when the one before works, calls
// ready, and waits for a signal or for one of them to end. Then it stops them, the
// first one last: the sink still takes what the daemons send at their end. A
// second signal kills what is left. It returns nil when a signal ended it and all
// stopped cleanly.
func supervise(programs []program, out io.Writer, signals <-chan os.Signal, ready func()) error {
	log := &lines{out: out}
	ended := make(chan *child, len(programs))
	var children []*child
	var reported *child // the one whose end is the error already
	died := func(c *child) error {
		reported = c
		return c.diedError()
	}
	err := func() error {
		for _, p := range programs {
			c, err := start(p, log, ended)
			if err != nil {
				return err
			}
			children = append(children, c)
			if err := await(c, ended, died, signals); err != nil {
				return err
			}
		}
		ready()
		select {
		case <-signals:
			return nil
		case c := <-ended:
			return died(c)
		}
	}()
	if errors.Is(err, errStopped) {
		err = nil
	}
	log.say("stopping")
	if len(children) > 0 {
		children = append(slices.Clone(children[1:]), children[0])
	}
	for _, c := range children {
		if c == reported {
			continue
		}
		err = errors.Join(err, c.stop(signals))
		log.say(c.name + " has stopped")
	}
	return err
}

// await returns when the program answers, or the reason why it will not.
func await(c *child, ended <-chan *child, died func(*child) error, signals <-chan os.Signal) error {
	ctx, cancel := context.WithTimeout(context.Background(), readyLimit)
	defer cancel()
	answers := make(chan error, 1)
	go func() { answers <- poll(ctx, c.program) }()
	select {
	case err := <-answers:
		if err != nil {
			return fmt.Errorf("%s does not answer after %v: %w", c.name, readyLimit, err)
		}
		c.works = true
		return nil
	case dead := <-ended:
		return died(dead)
	case <-signals:
		return errStopped
	}
}

// poll repeats the request until the answer is 200.
func poll(ctx context.Context, p program) error {
	for {
		_, err := probe.Get(ctx, p.addr, p.ready)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(50 * time.Millisecond):
		}
	}
}
