package e2e

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"testing"
)

// atOnce is how many tests run at the same time. They wait, most of all for the
// server to make samples durable, and hardly work: all of them together take some
// 45 s of CPU time.
const atOnce = 32

func TestMain(m *testing.M) {
	flag.Parse()
	if parallel := flag.Lookup("test.parallel"); parallel.Value.String() == fmt.Sprint(runtime.GOMAXPROCS(0)) {
		if err := parallel.Value.Set(fmt.Sprint(atOnce)); err != nil {
			panic("BUG: " + err.Error())
		}
	}
	os.Exit(m.Run())
}
