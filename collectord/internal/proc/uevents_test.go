package proc

import "testing"

func TestUevents(t *testing.T) {
	fs := FS{Sys: t.TempDir()}
	const path = "kernel/uevent_seqnum"
	moved := func(u *Uevents, want bool) {
		t.Helper()
		if got := u.Moved(); got != want {
			t.Errorf("got %v, want %v", got, want)
		}
	}
	writeFile(t, fs.SysPath(path), "4021\n")
	u := NewUevents(fs)
	moved(u, true)
	moved(u, true) // nobody has looked
	u.Settle()
	moved(u, false)
	moved(u, false)
	writeFile(t, fs.SysPath(path), "4022\n")
	moved(u, true)
	writeFile(t, fs.SysPath(path), "4023\n") // during the look
	u.Settle()
	moved(u, true)
	u.Settle()
	moved(u, false)

	for name, text := range map[string]string{"cut": "", "other": "many\n"} {
		writeFile(t, fs.SysPath(path), text)
		u := NewUevents(fs)
		for range 3 {
			if !u.Moved() {
				t.Errorf("%s: not moved", name)
			}
			u.Settle()
		}
	}
	u = NewUevents(FS{Sys: t.TempDir()})
	for range 3 {
		moved(u, true)
		u.Settle()
	}
	if n := testing.AllocsPerRun(10, func() { u.Moved() }); n != 0 {
		t.Errorf("without a file: %v allocations", n)
	}
}
