package testkit

import (
	"fmt"
	"strings"
	"sync"
	"testing"
)

func TestBuffer(t *testing.T) {
	t.Parallel()
	const writers, lines = 4, 100
	var b Buffer
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for range lines {
				fmt.Fprintln(&b, "line")
				if s := b.String(); !strings.HasSuffix(s, "line\n") {
					t.Errorf("a line is torn: %q", s)
				}
			}
		})
	}
	wg.Wait()
	if got := strings.Count(b.String(), "line\n"); got != writers*lines {
		t.Errorf("got %d lines, want %d", got, writers*lines)
	}
}
