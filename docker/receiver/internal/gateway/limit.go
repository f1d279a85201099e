package gateway

import (
	"math"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"
)

// Limits bound what requests may cost. Zero fields mean the defaults.
type Limits struct {
	Requests  int     // at a time, of all senders; default 512
	PerDevice int     // at a time, of one device; default 8
	Rate      float64 // a second, of one device; default 20
	Burst     int     // requests of one device that may come at once; default 100
}

func (l *Limits) setDefaults() {
	if l.Requests == 0 {
		l.Requests = 512
	}
	if l.PerDevice == 0 {
		l.PerDevice = 8
	}
	if l.Rate == 0 {
		l.Rate = 20
	}
	if l.Burst == 0 {
		l.Burst = 100
	}
}

// maxSpread is the longest Retry-After of a full gateway, in seconds: as long as the shippers' upload interval, beyond
// which they wait by themselves. Simulated (docs/fleet.md), 10,000 devices in step are done after 3 minutes with it and
// after 35 when all are told to come in a second.
const maxSpread = 30

// limits counts the requests under way. There is an account for each device that has a token: their number is bounded by
// the file of the tokens.
type limits struct {
	Limits
	now func() time.Time

	mu       sync.Mutex
	all      int
	accounts map[string]*account
}

type account struct {
	running int
	left    float64 // requests that may come now, at the time
	at      time.Time
}

// enter lets a request in, or says when to come again: when the gateway is full, or the device asks too much. Both is 429
// and said before the body is read, so nothing was stored and shipperd need not ask whether. Whoever is let in must leave.
func (l *limits) enter(name string, known bool) (leave func(), err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.all >= l.Requests {
		// Another time for each: a fleet that comes back in step and is told the same would come again in step.
		wait := time.Duration(1+rand.IntN(maxSpread)) * time.Second
		return nil, &fault{http.StatusTooManyRequests, "busy with other requests; nothing was stored", wait}
	}
	var a *account
	if known {
		if a = l.accounts[name]; a == nil {
			a = &account{left: float64(l.Burst), at: l.now()}
			l.accounts[name] = a
		}
		if err := l.charge(a); err != nil {
			return nil, err
		}
		a.running++
	}
	l.all++
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.all--
		if a != nil {
			a.running--
		}
	}, nil
}

// rounding is what the arithmetic may lose of one request: without it, whoever obeys Retry-After to the nanosecond could
// be told to wait once more.
const rounding = 1e-7

func (l *limits) charge(a *account) error {
	if a.running >= l.PerDevice {
		return tooMany(time.Second)
	}
	now := l.now()
	a.left = min(float64(l.Burst), a.left+l.Rate*now.Sub(a.at).Seconds())
	a.at = now
	if a.left < 1-rounding {
		return tooMany(time.Duration((1 - a.left) / l.Rate * float64(time.Second)))
	}
	a.left--
	return nil
}

func tooMany(wait time.Duration) error {
	// The header has whole seconds.
	wait = time.Duration(math.Ceil(max(wait.Seconds(), 1))) * time.Second
	return &fault{http.StatusTooManyRequests, "too many requests of this device; nothing was stored", wait}
}
