package front

import (
	"context"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"
)

// retryEvery is the pause before what could not be delivered is tried again.
const retryEvery = time.Second

// Queue answers imports with 204 and delivers them later, as vmagent does; reads go
// straight to the server. What it has taken it delivers also when its mode has ended.
type Queue struct {
	Delay    time.Duration // from the answer to the delivery
	Until    time.Time     // nothing is delivered before; zero = at once
	Overtake time.Duration // each body is late by up to so much more, so that they overtake each other

	outbox *outbox
}

// NewQueue returns a queue that ends with the test.
func NewQueue(t testing.TB) *Queue { return &Queue{outbox: newOutbox(t)} }

// Mode is the queue as a mode.
func (q *Queue) Mode() Mode {
	return onImports(func(w http.ResponseWriter, r *http.Request, server http.Handler) error {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return err
		}
		due := latest(time.Now().Add(q.Delay), q.Until)
		if q.Overtake > 0 {
			due = due.Add(time.Duration(rand.Int64N(int64(q.Overtake))))
		}
		q.outbox.add(r, due, q.Overtake == 0, func(r *http.Request) *httptest.ResponseRecorder { return send(server, r, body) })
		Answer{Status: http.StatusNoContent, Hostname: "vmagent"}.ServeHTTP(w, r)
		return nil
	})
}

// Waiting returns how many imports are not delivered yet.
func (q *Queue) Waiting() int { return q.outbox.waiting() }

// outbox holds requests that were answered and are not delivered yet.
type outbox struct {
	ctx context.Context // ends with the test
	wg  sync.WaitGroup

	mu     sync.Mutex
	before chan struct{} // closed when the last one in order is delivered
	n      int
}

func newOutbox(t testing.TB) *outbox {
	ctx, cancel := context.WithCancel(context.Background())
	o := &outbox{ctx: ctx, before: make(chan struct{})}
	close(o.before)
	t.Cleanup(func() {
		cancel()
		o.wg.Wait()
	})
	return o
}

func (o *outbox) waiting() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.n
}

// add takes a request that is due at some time, in order behind those before it or
// not.
func (o *outbox) add(r *http.Request, due time.Time, inOrder bool, deliver func(*http.Request) *httptest.ResponseRecorder) {
	later := r.Clone(o.ctx)
	done := make(chan struct{})
	o.mu.Lock()
	defer o.mu.Unlock()
	o.n++
	before := o.before
	if inOrder {
		o.before = done
	}
	o.wg.Go(func() {
		defer close(done)
		if !o.sleep(time.Until(due)) {
			return
		}
		if inOrder {
			select {
			case <-before:
			case <-o.ctx.Done():
				return
			}
		}
		for deliver(later).Code/100 != 2 {
			if !o.sleep(retryEvery) {
				return
			}
		}
		o.mu.Lock()
		defer o.mu.Unlock()
		o.n--
	})
}

// sleep returns false when the test has ended.
func (o *outbox) sleep(d time.Duration) bool {
	select {
	case <-o.ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
