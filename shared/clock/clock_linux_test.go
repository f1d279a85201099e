package clock

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

func TestSynchronised_Kernel(t *testing.T) {
	asked := 0
	f := func(status int32, err error, want Sync, wantOK bool) {
		t.Helper()
		got, ok := ofKernel(func(x *unix.Timex) (int, error) {
			if asked++; x.Modes != 0 {
				t.Error("it changes the clock")
			}
			x.Status = status
			return 0, err
		})
		if got != want || ok != wantOK {
			t.Errorf("status %x, %v: %v, %v", status, err, got, ok)
		}
	}
	defer forbidden.Store(forbidden.Swap(false))
	f(unix.STA_UNSYNC|unix.STA_PLL, nil, No, true)
	f(unix.STA_PLL, nil, Yes, true)
	f(0, unix.EPERM, Unknown, false)
	f(unix.STA_PLL, nil, Unknown, false) // not asked again
	if asked != 3 {
		t.Errorf("the kernel was asked %d times, want 3", asked)
	}
}

func TestSynchronised_Timesyncd(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "timesync")
	f := func(want Sync) {
		t.Helper()
		if got := ofTimesyncd(dir); got != want {
			t.Errorf("got %v, want %v", got, want)
		}
	}
	f(Unknown)
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	f(No)
	if err := os.WriteFile(filepath.Join(dir, "synchronized"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	f(Yes)
}

// TestRead_Cost: a tick reads the clocks, so it must cost next to nothing.
func TestRead_Cost(t *testing.T) {
	Read()
	if n := testing.AllocsPerRun(100, func() { Read() }); n > 2 { // the names of timesyncd's files, in a sandbox
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkRead(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		Read()
	}
}

func BenchmarkRead_Sandbox(b *testing.B) {
	defer forbidden.Store(forbidden.Swap(true))
	b.ReportAllocs()
	for b.Loop() {
		Read()
	}
}
