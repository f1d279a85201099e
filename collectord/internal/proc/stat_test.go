package proc

import (
	"errors"
	"reflect"
	"testing"
)

func TestStat(t *testing.T) {
	t.Parallel()
	s, err := NewStat(treeOf("rk3588")).Read()
	if err != nil {
		t.Fatal(err)
	}
	if got, want := s.Cores[7], (Core{7, CPUTimes{false, 30700, 20, 9070, 693000, 1207, 300, 157, 0}}); got != want {
		t.Errorf("core 7: %+v, want %+v", got, want)
	}
	if got, want := s.All, (CPUTimes{false, 242800, 160, 72280, 5572000, 9628, 2400, 1228, 0}); got != want {
		t.Errorf("all: %+v, want %+v", got, want)
	}
	s.All, s.Cores = CPUTimes{}, nil
	if want := (Stat{ContextSwitches: 91234567, BootTime: 1795447556, ProcessesRunning: 2, ProcessesBlocked: 1}); !reflect.DeepEqual(*s, want) {
		t.Errorf("got %+v, want %+v", *s, want)
	}
}

func TestStat_Cores(t *testing.T) {
	t.Parallel()
	for name, want := range map[string][]int{
		"cpu-offline":       {0, 1, 3},
		"cpu-offline-later": {0, 1, 2, 3},
		"cpu-four-columns":  {0},
	} {
		s, err := NewStat(treeOf(name)).Read()
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var got []int
		for _, c := range s.Cores {
			got = append(got, c.ID)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: cores %v, want %v", name, got, want)
		}
	}
}

func TestStat_ManyCores(t *testing.T) {
	t.Parallel()
	s, err := NewStat(treeOf("cpu-256")).Read()
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range s.Cores {
		if c.ID != i || c.Idle != 987654321+uint64(i) {
			t.Errorf("core %d: %+v", i, c)
		}
	}
	if len(s.Cores) != 256 {
		t.Errorf("%d cores, want 256", len(s.Cores))
	}
}

// The parser is used again and again on the same Stat: nothing of the reading
// before may show through.
func TestStat_ForgetsTheReadingBefore(t *testing.T) {
	t.Parallel()
	tail := "ctxt 1\nbtime 2\nprocs_running 3\nprocs_blocked 4\n"
	var s Stat
	if err := parseStat([]byte("cpu 1 2 3 4 5 6 7 8 9 10\ncpu0 1 2 3 4 5 6 7 8 9 10\n"+tail), &s); err != nil {
		t.Fatal(err)
	}
	if err := parseStat([]byte("cpu 4 3 2 1\ncpu1 4 3 2 1\n"+tail), &s); err != nil {
		t.Fatal(err)
	}
	four := CPUTimes{User: 4, Nice: 3, System: 2, Idle: 1}
	if want := []Core{{1, four}}; s.All != four || !reflect.DeepEqual(s.Cores, want) {
		t.Errorf("got %+v", s)
	}
}

func TestStat_Malformed(t *testing.T) {
	t.Parallel()
	tail := "ctxt 1\nbtime 2\nprocs_running 3\nprocs_blocked 4\n"
	for text, want := range map[string]struct {
		line int
		err  error
	}{
		"":                       {0, errIncomplete},
		tail:                     {0, errIncomplete},
		"cpu 1 2 3 4\nbtime 2\n": {0, errIncomplete},
		"cpu 1 2 3\n" + tail:     {1, ErrSyntax},
		"cpu 1 2 3 -4\n" + tail:  {1, ErrRange},
		"cpu 1 2 3 18446744073709551616\n" + tail: {1, ErrRange},
		"cpu 1 2 3 4\ncpu0x 1 2 3 4\n" + tail:     {2, ErrSyntax},
		"cpu 1 2 3 4\ncpu65536 1 2 3 4\n":         {2, ErrRange},
		"cpu 1 2 3 4\nctxt\n":                     {2, ErrSyntax},
	} {
		err := parseStat([]byte(text), &Stat{})
		wantParseError(t, err, "", want.line)
		if !errors.Is(err, want.err) {
			t.Errorf("%q: got %v, want %v", text, err, want.err)
		}
	}
	fs := treeOf("truncated")
	_, err := NewStat(fs).Read()
	wantParseError(t, err, fs.ProcPath("stat"), 2)
}

func FuzzParseStat(f *testing.F) {
	var s Stat // used again, as a reader does
	fuzzFixtures(f, func(t *testing.T, text []byte) {
		var fresh Stat
		err, again := parseStat(text, &fresh), parseStat(text, &s)
		if (err == nil) != (again == nil) {
			t.Fatalf("fresh: %v, used: %v", err, again)
		}
		c := s.All
		if impossible(s.ContextSwitches, s.BootTime, s.ProcessesRunning, s.ProcessesBlocked) ||
			!c.Absent && impossible(c.User, c.Nice, c.System, c.Idle, c.IOWait, c.IRQ, c.SoftIRQ, c.Steal) {
			t.Errorf("%q gives %+v", text, s)
		}
		if s.All != fresh.All || len(s.Cores) != len(fresh.Cores) || s.ContextSwitches != fresh.ContextSwitches {
			t.Errorf("fresh %+v, used %+v", fresh, s)
		}
		for i, c := range fresh.Cores {
			if c.ID < 0 || c.ID >= maxCores || s.Cores[i] != c {
				t.Errorf("fresh %+v, used %+v", c, s.Cores[i])
			}
		}
	}, "*/proc/stat")
}
