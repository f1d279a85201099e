package ship

import "time"

// pace bounds the bytes per second while catching up. It lets a chunk go at once and makes the
// next one wait for as long as the last one costs at that rate.
type pace struct {
	bytesPerSecond int64 // 0 = unlimited
	free           time.Time
}

// spent notes that n bytes left; it returns when the next may.
func (p *pace) spent(n int, now time.Time) time.Time {
	if p.bytesPerSecond > 0 {
		cost := time.Duration(float64(n) / float64(p.bytesPerSecond) * float64(time.Second))
		if p.free.Before(now) {
			p.free = now
		}
		p.free = p.free.Add(cost)
	}
	return p.free
}
