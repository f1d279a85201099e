package gateway

import (
	"log/slog"
	"sync"
	"time"
)

// logEvery is how often an outage that lasts is logged again.
const logEvery = time.Minute

// outage logs that the sink fails: once when it begins, once a minute with the count while it lasts, and once when it
// is over, however many requests meet it.
type outage struct {
	log *slog.Logger

	mu     sync.Mutex
	count  int // failures since the beginning; 0 = none
	began  time.Time
	logged time.Time
}

// note takes the result of a write.
func (o *outage) note(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := time.Now()
	if err == nil {
		if o.count > 0 {
			o.log.Info("samples can be kept again", "failures", o.count, "outage_seconds", now.Sub(o.began).Seconds())
		}
		o.count = 0
		return
	}
	if o.count++; o.count == 1 {
		o.began = now
	}
	if o.count == 1 || now.Sub(o.logged) >= logEvery {
		o.logged = now
		o.log.Error("samples cannot be kept", "failures", o.count, "err", err)
	}
}

// now returns how many failures the present outage has had, and since when; a zero time is none.
func (o *outage) now() (failures int, since time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.count == 0 {
		return 0, time.Time{}
	}
	return o.count, o.began
}
