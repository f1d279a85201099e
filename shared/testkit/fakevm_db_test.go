package testkit

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestFakeVM_LateAndPoisoned runs in a bubble: the fake's seconds cost nothing.
func TestFakeVM_LateAndPoisoned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		vm := StartFakeVM(t, FakeConfig{InMemory: true, VisibleAfter: 2 * time.Second, Poison: 11 * time.Second})
		see := func(after time.Duration, match string, want int) {
			t.Helper()
			got, err := vm.Export(match)
			if err != nil {
				t.Fatal(err)
			}
			if len(got) != want {
				t.Errorf("%s %v after the import: %d series, want %d", match, after, len(got), want)
			}
		}
		if err := vm.Import(lines(2)); err != nil {
			t.Fatal(err)
		}
		see(0, `s0`, 0)
		time.Sleep(3 * time.Second)
		see(3*time.Second, `s0`, 0) // asked too early: still nothing
		see(3*time.Second, `s1`, 1)
		time.Sleep(9 * time.Second)
		see(12*time.Second, `s0`, 1)

		if err := vm.Import(lines(3)); err != nil {
			t.Fatal(err)
		}
		see(0, `s2`, 0)
		if err := vm.ForceFlush(); err != nil {
			t.Fatal(err)
		}
		see(0, `s2`, 1)
	})
}

func TestFakeVM_Dedup(t *testing.T) {
	t.Parallel()
	vm := StartFakeVM(t, FakeConfig{Dedup: time.Second})
	base := time.Now().Add(-time.Minute).Truncate(time.Second).UnixMilli()
	if err := vm.Import(timesIn(`{"metric":{"__name__":"a"},"values":[1,2,3,4,5],"timestamps":[@,@1,@1000,@1000,@1001]}`, base)); err != nil {
		t.Fatal(err)
	}
	series, err := vm.Export("a")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := show(base, series), "a{} +0=1 +1000=4 +1001=5\n"; got != want {
		t.Errorf("an export shows %q, want %q", got, want)
	}
	raw, err := vm.ExportRaw("a")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := show(base, raw), "a{} +0=1 +1=2 +1000=3 +1000=4 +1001=5\n"; got != want {
		t.Errorf("a raw export shows %q, want %q", got, want)
	}
	counts, err := vm.Query(`sum(count_over_time(a[1m]))`, time.UnixMilli(base+2000))
	if err != nil || len(counts) != 1 || counts[0].Value != 3 {
		t.Errorf("the count is %v, %v, want 3", counts, err)
	}
}

func TestFakeVM_OwnMetrics(t *testing.T) {
	t.Parallel()
	vm := StartFakeVM(t, FakeConfig{Dedup: time.Millisecond})
	if err := vm.Import("x\n{}\n"); err != nil {
		t.Fatal(err)
	}
	f := func(path, want string) {
		t.Helper()
		text, err := vm.do(http.MethodGet, path, "", nil)
		if err != nil || !strings.Contains(string(text), want) {
			t.Errorf("%s: %q, %v, want %q in it", path, text, err, want)
		}
	}
	f("/metrics", fmt.Sprintf("vm_app_start_timestamp %d\n", vm.started.Unix()))
	f("/metrics", `vm_rows_invalid_total{type="vmimport"} 2`)
	f("/flags", `-dedup.minScrapeInterval="1ms"`)
	f("/flags", `-retentionPeriod="744h"`)
}
