//go:build !race

package page

// The healthy device's day is a file of a million rows.
const (
	healthyFiller = 79 // series beside those that are drawn
	healthyRows   = 1_000_000
)
