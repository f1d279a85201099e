package daemon

import (
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// A program, one that is position-independent and was changed by its loader, a
// library, data, the heap.
const smaps = `00400000-00a00000 r-xp 00000000 fd:00 17                                 /usr/bin/belabox-collectord
Rss:                5000 kB
Anonymous:             0 kB
VmFlags: rd ex mr mw me sd
00a00000-01000000 r--p 00600000 fd:00 17                                 /usr/bin/belabox-collectord
Rss:                4000 kB
Anonymous:             4 kB
01000000-01400000 r--p 00c00000 fd:00 17                                 /usr/bin/belabox-collectord
Rss:                4000 kB
Anonymous:             0 kB
01400000-01500000 rw-p 01000000 fd:00 17                                 /usr/bin/belabox-collectord
Anonymous:             0 kB
01500000-01600000 r--s 01000000 fd:00 17                                 /usr/bin/belabox-collectord
Anonymous:             0 kB
c000000000-c000400000 rw-p 00000000 00:00 0 
Anonymous:             0 kB
7f0000000000-7f0000100000 r-xp 00000000 fd:00 18                         /usr/bin/belabox-collectord-2
Anonymous:             0 kB
7f1000000000-7f1000001000 r--s 00000000 00:01 2081                       /dev/zero (deleted)
Anonymous:             0 kB
`

func TestProgramParts(t *testing.T) {
	t.Parallel()
	known := part{0x7f1000000000, 0x7f1000001000}
	got, err := programParts(strings.NewReader(smaps), "/usr/bin/belabox-collectord", known)
	want := []part{{0x400000, 0xa00000}, {0x1000000, 0x1400000}}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("got %x, %v; want %x", got, err, want)
	}
	// An updated program: the file that runs is no longer there under its name.
	if got, err := programParts(strings.NewReader(smaps), "/usr/bin/other", known); err == nil {
		t.Errorf("parts of another program: %x", got)
	}
	// An emulator has put the memory of the program elsewhere.
	for _, shift := range []uint64{0x1000, 0x10000, 1 << 40} {
		moved := part{known.start - shift, known.end - shift}
		if got, err := programParts(strings.NewReader(smaps), "/usr/bin/belabox-collectord", moved); err == nil {
			t.Errorf("parts of a memory that is 0x%x away: %x", shift, got)
		}
	}
}

// TestUnmapProgram does it to this process, which goes on.
func TestUnmapProgram(t *testing.T) {
	before := residentProgram(t)
	parts, err := mappedProgram()
	if emulated := os.Getenv("TEST_EMULATOR") != ""; emulated && err != nil {
		return // the memory is somewhere else, which was noticed
	} else if err != nil {
		t.Fatal(err)
	}
	if err := unmap(parts); err != nil {
		t.Fatal(err)
	}
	after := residentProgram(t)
	t.Logf("%d kB of the program were resident, %d kB are", before, after)
	if after >= before {
		t.Errorf("%d kB of the program were resident, now %d kB are", before, after)
	}
}

// residentProgram is how much of files is mapped and resident, in kB.
func residentProgram(t *testing.T) int {
	t.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`RssFile:\s+(\d+) kB`).FindSubmatch(status)
	if m == nil {
		t.Fatal("no RssFile in /proc/self/status: a kernel of 4.5 or later is needed")
	}
	kB, err := strconv.Atoi(string(m[1]))
	if err != nil {
		t.Fatal(err)
	}
	return kB
}
