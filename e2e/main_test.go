package e2e

import (
	"os"
	"testing"

	"belabox-metrics/shared/testkit"
)

// The tests wait, most of all for the server to make samples durable, and hardly
// work: all of them together take some 45 s of CPU time.
func TestMain(m *testing.M) { os.Exit(testkit.Run(m, 32)) }
