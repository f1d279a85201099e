//go:build !race

package testkit

// Race reports whether the race detector is on, which makes Go code some ten times
// slower: what is only large (files, rounds) may be smaller then.
const Race = false
