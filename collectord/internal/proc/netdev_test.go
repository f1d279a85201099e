package proc

import (
	"fmt"
	"os"
	"slices"
	"testing"
)

func netNames(stats []NetDevStat) []string {
	var list []string
	for _, s := range stats {
		list = append(list, string(s.Name))
	}
	return list
}

func TestNetDev_Boards(t *testing.T) {
	t.Parallel()
	stats, err := NewNetDev(treeOf("rk3588")).Read()
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"lo", "end0", "wlan0", "wwan0", "usb0", "docker0", "veth1a2b3c4"}
	if got := netNames(stats); !slices.Equal(got, want) {
		t.Fatalf("got %q, want %q", got, want)
	}
	got := stats[2]
	got.Name, got.Counts = nil, nil
	wlan := NetDevStat{
		ReceiveBytes: 72345112, ReceivePackets: 110233, ReceiveErrors: 0, ReceiveDrops: 211,
		TransmitBytes: 19834410, TransmitPackets: 84512, TransmitErrors: 3, TransmitDrops: 1,
	}
	if fmt.Sprint(got) != fmt.Sprint(wlan) {
		t.Errorf("wlan0: got %+v, want %+v", got, wlan)
	}
}

func TestNetDev_OddNames(t *testing.T) {
	t.Parallel()
	stats, err := NewNetDev(treeOf("net-odd-names")).Read()
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"eth0", "eth0:1", "a|b", "x\xffy", "über"}
	if got := netNames(stats); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if stats[0].ReceiveBytes != 1234567890 || stats[1].ReceiveBytes != 77 {
		t.Errorf("got %+v", stats[:2])
	}
}

func TestNetDev_BadLineCostsOnlyItself(t *testing.T) {
	t.Parallel()
	fs := treeOf("net-truncated")
	stats, err := NewNetDev(fs).Read()
	if got := netNames(stats); !slices.Equal(got, []string{"eth0"}) {
		t.Errorf("got %q", got)
	}
	wantParseError(t, err, fs.ProcPath("net/dev"), 4)
}

func TestParseNetDev_Malformed(t *testing.T) {
	t.Parallel()
	const header = "Inter-| Receive\n face |bytes\n"
	for _, c := range []struct {
		name, text string
		line       int
	}{
		{"empty", "", 1},
		{"other file", "nodev sysfs\nnodev tmpfs\n", 1},
		{"half a header", "Inter-| Receive\n", 2},
		{"no colon", header + "eth0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n", 3},
		{"no name", header + "  : 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n", 3},
		{"15 columns", header + "eth0: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15\n", 3},
	} {
		stats, err := parseNetDev([]byte(c.text), nil)
		if len(stats) > 0 {
			t.Errorf("%s: got %+v", c.name, stats)
		}
		wantParseError(t, err, "", c.line)
	}
}

func TestParseNetDev_BadNumberCostsOnlyItself(t *testing.T) {
	t.Parallel()
	text := "Inter-| Receive\n face |bytes\neth0: -1 2 3 18446744073709551611 x x x x 9 10 11 12 13 14 15 -16\n"
	stats, err := parseNetDev([]byte(text), nil)
	wantParseError(t, err, "", 3)
	if len(stats) != 1 {
		t.Fatalf("got %+v", stats)
	}
	s := stats[0]
	s.Name, s.Counts = nil, nil
	want := NetDevStat{
		ReceiveBytes: Absent, ReceivePackets: 2, ReceiveErrors: 3, ReceiveDrops: Absent,
		TransmitBytes: 9, TransmitPackets: 10, TransmitErrors: 11, TransmitDrops: 12,
	}
	if fmt.Sprint(s) != fmt.Sprint(want) {
		t.Errorf("got %+v, want %+v", s, want)
	}
}

func TestNetDev_WhoseNamespace(t *testing.T) {
	t.Parallel()
	// That of process 1, where the tree has it.
	stats, err := NewNetDev(treeOf("net-of-process-1")).Read()
	if got := netNames(stats); err != nil || !slices.Equal(got, []string{"eth0"}) {
		t.Errorf("got %q, %v, want eth0 of process 1", got, err)
	}
	if got := (FS{Proc: "/proc/"}).netPath("dev"); got != "/proc/net/dev" {
		t.Errorf("own procfs: %s", got)
	}
	// A procfs that hides process 1 must not give the reader's own interfaces,
	// which is where its link "net" leads.
	fs := FS{Proc: t.TempDir()}
	writeFile(t, fs.ProcPath("self/net/dev"), "")
	if err := os.Symlink("self/net", fs.ProcPath("net")); err != nil {
		t.Fatal(err)
	}
	if got, want := fs.netPath("dev"), fs.ProcPath("1/net/dev"); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestIsPhysical(t *testing.T) {
	t.Parallel()
	fs := treeOf("rk3588")
	for name, want := range map[string]bool{
		"end0": true, "wwan0": true, "lo": false, "veth1a2b3c4": false, "nosuch0": false, "../net/end0": false,
	} {
		if got := IsPhysical(fs, name); got != want {
			t.Errorf("%s: got %v", name, got)
		}
	}
}

func FuzzParseNetDev(f *testing.F) {
	fuzzFixtures(f, func(t *testing.T, text []byte) {
		stats, err := parseNetDev(text, nil)
		for _, s := range stats {
			if len(s.Name) == 0 {
				t.Errorf("an interface without a name: %+v", s)
			}
		}
		if rest, headerErr := skipNetHeader(text); headerErr == nil {
			wantLinesCounted(t, rest, len(stats), err)
		} else if err == nil {
			t.Error("no header and no error")
		}
	}, "*/proc/net/dev", "*/proc/1/net/dev")
}

func BenchmarkNetDev(b *testing.B) {
	d := NewNetDev(treeOf("rk3588"))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := d.Read(); err != nil {
			b.Fatal(err)
		}
	}
}
