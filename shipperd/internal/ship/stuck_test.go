package ship

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"belabox-metrics/shared/store"
	"belabox-metrics/shipperd/internal/victoria"
)

// stuck is a connection on which nothing gets through for a while. What was sent
// meanwhile arrives when it works again.
type stuck struct {
	Server
	back time.Time

	mu   sync.Mutex
	held [][]byte
}

// pass returns nil once the line works, and a timeout before.
func (l *stuck) pass(ctx context.Context) error {
	if time.Now().Before(l.back) {
		select {
		case <-time.After(5 * time.Second):
		case <-ctx.Done():
		}
		return &victoria.Error{Class: victoria.ClassTimeout, Ambiguous: true, Err: errors.New("no answer in time")}
	}
	l.arrive()
	return nil
}

func (l *stuck) arrive() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, body := range l.held {
		if _, err := l.Server.Import(context.Background(), body, "late"); err != nil {
			panic(err)
		}
	}
	l.held = nil
}

func (l *stuck) waiting() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.held)
}

func (l *stuck) Import(ctx context.Context, body []byte, id string) (victoria.Reply, error) {
	if err := l.pass(ctx); err != nil {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.held = append(l.held, slices.Clone(body))
		return victoria.Reply{}, err
	}
	return l.Server.Import(ctx, body, id)
}

func (l *stuck) Count(ctx context.Context, sel victoria.Selector, fromMS, toMS int64) (int64, error) {
	if err := l.pass(ctx); err != nil {
		return 0, err
	}
	return l.Server.Count(ctx, sel, fromMS, toMS)
}

func (l *stuck) Export(ctx context.Context, sel victoria.Selector, startMS, endMS int64, each func(labels []store.Tag, timestamps []int64) error) error {
	if err := l.pass(ctx); err != nil {
		return err
	}
	return l.Server.Export(ctx, sel, startMS, endMS, each)
}

// TestStuck: requests that were given up arrive after an outage, at the moment of
// the first question about them. The server does not show them yet; or it does, and
// is killed a moment later.
func TestStuck(t *testing.T) {
	t.Parallel()
	for name, killed := range map[string]bool{"not visible yet": false, "forgotten": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, outage := range []time.Duration{time.Minute, 3 * time.Minute, time.Hour} {
				synctest.Test(t, func(t *testing.T) {
					r := newRig(t, 20)
					line := &stuck{Server: r.http, back: time.Now().Add(outage)}
					r.shipper.Server = line
					r.run()
					r.pass(outage-time.Second, 10*time.Second)
					if line.waiting() == 0 {
						t.Error("nothing was under way")
					}
					if killed {
						r.sleep(time.Until(line.back))
						line.arrive()
						r.sleep(9 * time.Second)
						if n := r.vm.Restart(10 * time.Second); n == 0 {
							t.Error("the server forgot nothing")
						}
					}
					r.live(10*time.Minute, 10*time.Second)
					r.deliver(time.Hour)
				})
			}
		})
	}
}
