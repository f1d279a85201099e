package daemon

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Release gives back the memory of the program every 30 s until ctx ends, soon after rare work,
// which calls Used. Of the 10 MB that are resident in each daemon collecting needs 6, and waiting
// for an upload 2. What is needed again comes back from the page cache. The kernel would do the
// same when memory runs short, but until then other programs on a small device do not have that
// memory.
func (p *Pages) Release(ctx context.Context) error {
	if parts, err := mappedProgram(); err == nil {
		p.each(ctx, func() error { return unmap(parts) })
	}
	<-ctx.Done() // also after an error: nothing depends on it
	return nil
}

// mappedProgram finds this process's own program in its memory. It stays where it is. In an emulator
// such as qemu-user smaps has the emulator's addresses: what is there in our memory may be data. So
// a page of our own must be in it, at its address.
func mappedProgram() ([]part, error) {
	program, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return nil, err
	}
	// Shared: the kernel joins it with no neighbour.
	page, err := unix.Mmap(-1, 0, os.Getpagesize(), unix.PROT_READ, unix.MAP_SHARED|unix.MAP_ANON)
	if err != nil {
		return nil, err
	}
	defer unix.Munmap(page) //nolint:errcheck // it is our own
	smaps, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		return nil, err
	}
	start := uint64(uintptr(unsafe.Pointer(unsafe.SliceData(page))))
	return programParts(bytes.NewReader(smaps), program, part{start, start + uint64(len(page))})
}

// unmap tells the kernel that this process does not need these pages now
// (MADV_DONTNEED, see madvise(2)).
func unmap(parts []part) error {
	for _, p := range parts {
		if _, _, errno := unix.Syscall(unix.SYS_MADVISE, uintptr(p.start), uintptr(p.end-p.start), unix.MADV_DONTNEED); errno != 0 {
			return fmt.Errorf("madvise: %w", errno)
		}
	}
	return nil
}

// part is a range of addresses, end excluded: that of the last one may not fit in 32 bits.
type part struct{ start, end uint64 }

// programParts reads smaps (see proc_pid_smaps(5)) and returns what can be read from
// the program's file again: mappings of it that nobody may write to and of which no
// page was ever changed. The loader of a position-independent program changes some
// and protects them afterwards; those must stay. known is a mapping that must be there.
func programParts(smaps io.Reader, program string, known part) ([]part, error) {
	var parts []part
	var now part
	ours, isKnown := false, false
	lines := bufio.NewScanner(smaps)
	for lines.Scan() {
		line := lines.Text()
		if size, ok := strings.CutPrefix(line, "Anonymous:"); ok && ours && strings.TrimSpace(size) == "0 kB" {
			parts = append(parts, now)
		}
		if line == "" || line[0] >= 'A' && line[0] <= 'Z' {
			continue // one of the two dozen facts about the mapping
		}
		// 00400000-0094b000 r-xp 00000000 fd:00 4711   /usr/bin/belabox-collectord
		var perm string
		if _, err := fmt.Sscanf(line, "%x-%x %s", &now.start, &now.end, &perm); err != nil {
			return nil, fmt.Errorf("smaps: %q: %w", line, err)
		}
		isKnown = isKnown || now == known
		_, name, _ := strings.Cut(line, "/")
		ours = "/"+name == program && strings.HasPrefix(perm, "r-") && strings.HasSuffix(perm, "p")
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	if !isKnown {
		return nil, errors.New("smaps is that of another memory, such as an emulator's")
	}
	if len(parts) == 0 {
		return nil, errors.New("no part of the program is mapped unchanged")
	}
	return parts, nil
}
