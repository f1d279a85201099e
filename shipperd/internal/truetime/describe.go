package truetime

import (
	"time"

	"belabox-metrics/shared/human"
	"belabox-metrics/shared/store"
)

// Describe says where the true time of an epoch comes from.
func Describe(e store.Epoch) string {
	off := time.Duration(e.TrueOffset-e.WallOffset) * time.Millisecond
	direction := "behind"
	if off < 0 {
		direction = "ahead"
	}
	off = off.Abs()
	switch {
	case e.How == store.HowUnknown:
		return "not known yet: the clock is not synchronised, and no server has confirmed a time"
	case e.How == store.HowUnconfirmed:
		return "not confirmed by anything: samples keep the time of the wall clock"
	case e.How == store.HowClock && e.Synchronised.Bool:
		return "the clock is synchronised"
	case e.How == store.HowClock:
		return "the clock agrees with the server's"
	case e.How == store.HowKernel:
		return "the clock was " + human.Duration(off) + " " + direction + " before it was synchronised; samples are corrected"
	case e.How == store.HowServer:
		if direction == "ahead" {
			direction = "ahead of"
		}
		return "the clock is " + human.Duration(off) + " " + direction + " the server's; samples are corrected"
	}
	return "estimated: the boot ended before the time was known"
}
