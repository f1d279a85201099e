//go:build race

package testkit

import (
	"flag"

	_ "pgregory.net/rapid" // it declares its flags first
)

// Race reports whether the race detector is on, which makes Go code some ten times
// slower: what is only large (files, rounds) may be smaller then.
const Race = true

// init has rapid do as many rounds as [Rounds] says: it does 100 by default.
func init() {
	if err := flag.Set("rapid.checks", "20"); err != nil {
		panic(err)
	}
}
