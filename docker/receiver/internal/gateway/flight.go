package gateway

import (
	"context"
	"sync"
)

// flights lets one request at a time work on a chunk. A sender that gave up waiting sends again while the first request
// is still at it; without this both would be stored.
type flights struct {
	mu      sync.Mutex
	running map[string]chan struct{}
}

// begin waits until nobody else works on the key. The caller ends it; the error is that of ctx.
func (f *flights) begin(ctx context.Context, key string) (end func(), err error) {
	for {
		f.mu.Lock()
		other := f.running[key]
		if other == nil {
			done := make(chan struct{})
			if f.running == nil {
				f.running = map[string]chan struct{}{}
			}
			f.running[key] = done
			f.mu.Unlock()
			return func() {
				f.mu.Lock()
				defer f.mu.Unlock()
				delete(f.running, key)
				close(done)
			}, nil
		}
		f.mu.Unlock()
		select {
		case <-other:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}
