package sample

import "math"

// digits is how many significant digits a rate or share is given. The time between
// two readings is known to some 50 µs of a second or more, and at the server to a
// millisecond: further digits are noise, and each costs bytes on the link.
const digits = 5

// quotient rounds a quotient of two readings to its significant digits. 0, NaN
// and infinities stay as they are.
func quotient(v float64) float64 {
	if v == 0 || math.IsInf(v, 0) || math.IsNaN(v) {
		return v
	}
	// A power of ten that is whole: dividing by it gives the number next to the
	// decimal fraction, which prints as such; multiplying with 0.1 does not.
	behind := digits - 1 - int(math.Floor(math.Log10(math.Abs(v))))
	if behind < 0 {
		whole := math.Pow10(-behind)
		return math.Round(v/whole) * whole
	}
	if behind > 22 {
		return 0 // below 1e-17, and 10^23 is no longer exact
	}
	scale := math.Pow10(behind)
	return math.Round(v*scale) / scale
}
