//go:build race

package page

// The race detector makes filling the file ten times dearer: a day of fewer series.
const (
	healthyFiller = 0 // series beside those that are drawn
	healthyRows   = 300_000
	slowdown      = 20 // of the page itself
)
