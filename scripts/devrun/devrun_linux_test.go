package main

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"belabox-metrics/shared/testkit"
)

func TestDevrun_KilledTakesAllWithIt(t *testing.T) {
	t.Parallel()
	p := devrun(t, checkout(t, withVM))
	p.WaitLine(limit, "All three are running")
	children := pids(t, p)
	p.Kill()
	for _, pid := range children {
		testkit.Eventually(t, limit, fmt.Sprintf("pid %d to end", pid), func() bool {
			stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
			// Where nobody reaps orphans, it stays a zombie.
			return errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ESRCH) || strings.Contains(string(stat), ") Z ")
		})
	}
}
