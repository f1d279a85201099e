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
`

func TestProgramParts(t *testing.T) {
	t.Parallel()
	got, err := programParts(strings.NewReader(smaps), "/usr/bin/belabox-collectord")
	want := []part{{0x400000, 0xa00000}, {0x1000000, 0x1400000}}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("got %x, %v; want %x", got, err, want)
	}
	// An updated program: the file that runs is no longer there under its name.
	if got, err := programParts(strings.NewReader(smaps), "/usr/bin/other"); err == nil {
		t.Errorf("parts of another program: %x", got)
	}
}

// TestUnmapProgram does it to this process, which goes on.
func TestUnmapProgram(t *testing.T) {
	before := residentProgram(t)
	parts, err := mappedProgram()
	if err != nil {
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
