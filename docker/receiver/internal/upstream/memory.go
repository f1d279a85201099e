package upstream

import (
	"sync"
	"time"

	"belabox-metrics/docker/receiver/internal/store"
)

const (
	// RememberFor is how long a chunk that the server said yes to is remembered.
	//
	// It is less than shipperd waits before it looks for samples (remote.verify.delay and settle are 15 s at least). Who
	// sends a chunk again within this time did not hear the answer and does not know; who sends it later has looked, and
	// the server, killed and restarted, has lost it. That one must be stored, whatever is remembered.
	RememberFor = 10 * time.Second
	// maxRemembered bounds the memory: some 500 bytes each.
	maxRemembered = 50_000
)

// memory holds receipts for a while.
type memory struct {
	now func() time.Time

	mu       sync.Mutex
	receipts map[[2]string]remembered
	order    []note // oldest first
}

type remembered struct {
	store.Receipt
	until time.Time
}

// note says when to look at a receipt again. One that was replaced meanwhile has a later note.
type note struct {
	key   [2]string
	until time.Time
}

func (m *memory) add(r store.Receipt) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.now()
	if m.receipts == nil {
		m.receipts = map[[2]string]remembered{}
	}
	key, until := [2]string{r.Device, r.Chunk}, now.Add(RememberFor)
	m.receipts[key] = remembered{r, until}
	m.order = append(m.order, note{key, until})
	m.forget(now)
}

// forget drops what is too old or too much.
func (m *memory) forget(now time.Time) {
	n := 0
	for n < len(m.order) && (!m.order[n].until.After(now) || len(m.order)-n > maxRemembered) {
		if key := m.order[n].key; m.receipts[key].until.Equal(m.order[n].until) {
			delete(m.receipts, key)
		}
		n++
	}
	m.order = m.order[n:]
}

func (m *memory) get(device, chunk string) (store.Receipt, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r, ok := m.receipts[[2]string{device, chunk}]
	return r.Receipt, ok && r.until.After(m.now())
}
