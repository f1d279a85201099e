//go:build !race

package page

// The healthy device's day is a file of a million rows.
const (
	healthyFiller = 77 // series beside those that are drawn
	healthyRows   = 1_000_000
	slowdown      = 1
)
