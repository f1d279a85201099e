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
	"time"

	"golang.org/x/sys/unix"
)

// pagesEvery: by the first time a daemon has started and done each of its usual tasks.
// What is needed less often than that is not kept.
const pagesEvery = time.Minute

// releaseProgramPages gives back the memory of those parts of the program that only
// its start needed: of the 11 MB of each program that are resident after it, half is
// never touched again. The kernel would do so when memory runs short, but until then
// other programs on a small device do not have that memory. A page that is needed after
// all comes back from the page cache. It returns when ctx ends.
func releaseProgramPages(ctx context.Context) {
	parts, err := mappedProgram()
	if err != nil {
		return // nothing depends on it
	}
	tick := time.NewTicker(pagesEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if unmap(parts) != nil {
			return
		}
	}
}

// mappedProgram finds this process's own program in its memory. It stays where it is.
func mappedProgram() ([]part, error) {
	program, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return nil, err
	}
	smaps, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		return nil, err
	}
	return programParts(bytes.NewReader(smaps), program)
}

// unmap tells the kernel that this process does not need these pages now
// (MADV_DONTNEED, see madvise(2)).
func unmap(parts []part) error {
	for _, p := range parts {
		if _, _, errno := unix.Syscall(unix.SYS_MADVISE, p.start, p.end-p.start, unix.MADV_DONTNEED); errno != 0 {
			return fmt.Errorf("madvise: %w", errno)
		}
	}
	return nil
}

// part is a range of addresses, end excluded.
type part struct{ start, end uintptr }

// programParts reads smaps (see proc_pid_smaps(5)) and returns what can be read from
// the program's file again: mappings of it that nobody may write to and of which no
// page was ever changed. The loader of a position-independent program changes some
// and protects them afterwards; those must stay.
func programParts(smaps io.Reader, program string) ([]part, error) {
	var parts []part
	var now part
	ours := false
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
		_, name, _ := strings.Cut(line, "/")
		ours = "/"+name == program && strings.HasPrefix(perm, "r-") && strings.HasSuffix(perm, "p")
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	if len(parts) == 0 {
		return nil, errors.New("no part of the program is mapped unchanged")
	}
	return parts, nil
}
