package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"belabox-metrics/shared/datafile"
)

const (
	planSuffix    = ".salvage"   // why, and from the decision on where to; see plan
	newSuffix     = ".salvaging" // the new file while it is made
	asideSuffix   = ".damaged-"  // and the time: where damaged files go
	reportSuffix  = ".report"    // behind that: what was salvaged, JSON
	asideTimeForm = "20060102T150405Z"

	maxReport  = 64 << 10 // bytes of a plan or a report; they have less than one
	maxReports = 100      // that are read, the newest; some more than salvagesPerHour
)

// plan is the file metrics.db.salvage. With it a salvage survives a crash: while
// there is no new file it begins anew, after that the files are exchanged to the
// end.
type plan struct {
	Found  time.Time `json:"found"`
	Reason string    `json:"reason"`
	Made   *Salvaged `json:"made,omitempty"` // the new file is complete
	// Uncounted: samples are missing of which the file has no account.
	Uncounted bool `json:"uncounted,omitempty"`
	// Rescued: it is a copy of a whole file, of a moment before the last records of
	// what was sent, perhaps.
	Rescued bool `json:"rescued,omitempty"`
}

// RequestSalvage notes that the database at path was found damaged, for the other
// daemon, which stops, and for the next start, which salvages. cause wraps
// ErrDamaged; with any other it does nothing. Call it before the handle that met the
// damage is closed: after that another process may have salvaged already.
func RequestSalvage(path string, cause error) error {
	return requestSalvage(path, cause, false)
}

func requestSalvage(path string, cause error, uncounted bool) error {
	if !errors.Is(cause, ErrDamaged) {
		return nil
	}
	if _, err := os.Lstat(path + planSuffix); err == nil {
		return nil // another process was faster
	}
	reason := strings.ReplaceAll(cause.Error(), ErrDamaged.Error()+": ", "")
	return plan{
		Found: time.Now().UTC(), Reason: strings.Join(strings.Fields(reason), " "), Uncounted: uncounted,
	}.write(path)
}

func (p plan) write(path string) error {
	text, err := json.Marshal(p)
	if err != nil {
		return err
	}
	if err := writeSynced(path+planSuffix, append(text, '\n')); err != nil {
		return fmt.Errorf("record that %q is damaged: %w", path, err)
	}
	return nil
}

// readPlan returns nil when no salvage is due. A file that makes no sense is a
// request without a reason: creating it with touch requests a salvage.
func readPlan(path string) (*plan, error) {
	text, err := datafile.Read(path+planSuffix, maxReport)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil && !errors.Is(err, datafile.ErrTooLarge) { // that makes no sense either
		return nil, err
	}
	var p plan
	if err := json.Unmarshal(text, &p); err != nil || p.Made == nil && p.Rescued || p.Made != nil && !isAside(path, p.Made.Aside) {
		p = plan{Found: time.Now().UTC(), Reason: "requested by the file " + filepath.Base(path) + planSuffix}
	}
	return &p, nil
}

// asideName returns a name for damaged files under which nothing stands. Later ones
// sort behind earlier ones.
func asideName(path string, now time.Time) (string, error) {
	for ; ; now = now.Add(time.Second) {
		name := path + asideSuffix + now.UTC().Format(asideTimeForm)
		taken, err := filepath.Glob(globQuote(name) + "*")
		if err != nil || len(taken) == 0 {
			return name, err
		}
	}
}

// isAside reports whether name is one that asideName gives.
func isAside(path, name string) bool {
	stamp, ok := strings.CutPrefix(name, path+asideSuffix)
	_, err := time.Parse(asideTimeForm, stamp)
	return ok && err == nil
}

// globQuote makes a path stand for itself in a pattern.
func globQuote(path string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path)
}

// moveAside renames a file of the database to its place among the damaged ones;
// one that is not there, or has been moved before a crash, is no error.
func moveAside(path, aside, suffix string) error {
	from, to := path+suffix, aside+suffix
	if _, err := os.Lstat(to); err == nil {
		if _, err := os.Lstat(from); errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return fmt.Errorf("set %q aside: %q exists already; move one of them away", from, to)
	}
	if err := os.Rename(from, to); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("set the damaged file aside: %w", err)
	}
	return syncFolder(path)
}

// writeSynced replaces a file by one with this content; after it, a power cut
// finds the new one. Another process may do the same at the same time.
func writeSynced(path string, content []byte) (err error) {
	draft := fmt.Sprintf("%s.%d.new", path, os.Getpid())
	if err := removeFile(draft); err != nil { // of a process that crashed
		return err
	}
	f, err := datafile.Open(draft, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o640)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(draft, path)
	}
	if err != nil {
		return errors.Join(err, removeFile(draft))
	}
	return syncFolder(path)
}

// syncFolder brings renames in the directory of path to the disk.
func syncFolder(path string) error {
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// Salvaged is the report on one salvage.
type Salvaged struct {
	Time   time.Time `json:"time"`
	Reason string    `json:"reason"`
	Aside  string    `json:"damaged_file"` // full path; "" when nothing was set aside
	Bytes  int64     `json:"damaged_bytes"`

	Rows        int64  `json:"rows"`                    // samples in the new file
	Pending     int64  `json:"pending"`                 // of them, to be delivered
	Asked       int64  `json:"asked"`                   // of them, those that are read back before they are sent
	Lost        *int64 `json:"lost"`                    // samples that could not be read and were not proven delivered; null = not known
	LostAtLeast int64  `json:"lost_at_least,omitempty"` // what is known of them then; booked as dropped either way
	LostProven  int64  `json:"lost_delivered"`          // that could not be read and are at the server
	DeadLetters int64  `json:"dead_letters"`
	Chunks      int64  `json:"chunks"`
	BadPages    int    `json:"bad_pages"`
	LedgerLost  bool   `json:"ledger_lost,omitempty"` // then the accounts begin anew
	Uncounted   bool   `json:"uncounted,omitempty"`   // samples are missing of which the file has no account: Lost is not known
}

// LostText says how many samples were lost.
func (s *Salvaged) LostText() string {
	switch {
	case s.Lost != nil && !s.LedgerLost:
		return fmt.Sprintf("%d were lost", *s.Lost)
	case s.LostAtLeast > 0:
		return fmt.Sprintf("how many were lost is not known: %d or more", s.LostAtLeast)
	case s.BadPages > 0:
		return fmt.Sprintf("how many were lost is not known: %d pages of the file could not be read", s.BadPages)
	}
	return "how many were lost is not known"
}

// DamagedFiles returns the reports on the damaged files that stand beside the
// database at path, the oldest first.
func DamagedFiles(path string) ([]Salvaged, error) {
	names, err := filepath.Glob(globQuote(path) + asideSuffix + "*" + reportSuffix)
	if err != nil {
		return nil, err
	}
	names = slices.DeleteFunc(names, func(name string) bool { return !isAside(path, strings.TrimSuffix(name, reportSuffix)) })
	var all []Salvaged
	for _, name := range names[max(0, len(names)-maxReports):] { // sorted by name, so by time
		aside := strings.TrimSuffix(name, reportSuffix)
		var s Salvaged
		text, readErr := datafile.Read(name, maxReport)
		if readErr == nil {
			if readErr = json.Unmarshal(text, &s); readErr != nil {
				readErr = fmt.Errorf("%q: %w", name, readErr)
			}
		}
		if readErr != nil {
			err = errors.Join(err, fmt.Errorf("read the report on a damaged file: %w", readErr))
			continue
		}
		// The advice to remove it must not depend on what somebody wrote into the report.
		s.Aside = aside
		all = append(all, s)
	}
	return all, err
}

// DamageNotice says what an operator should know about the damaged files beside the
// database at path; "" when there is none.
func DamageNotice(path string) string {
	all, err := DamagedFiles(path)
	if err != nil {
		return err.Error()
	}
	if len(all) == 0 {
		return ""
	}
	last := all[len(all)-1]
	text := fmt.Sprintf("the database was damaged on %s (%s): %d samples were salvaged, %s; what was damaged is kept as %s: remove %s* when it is no longer needed",
		last.Time.UTC().Format(time.RFC3339), last.Reason, last.Rows, last.LostText(), last.Aside, datafile.Quote(last.Aside))
	if len(all) > 1 {
		text += fmt.Sprintf("; this is number %d: unless the files were changed by hand, the disk or card is failing: replace it", len(all))
	}
	return text
}

func (s Salvaged) write() error {
	text, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	return writeSynced(s.Aside+reportSuffix, append(text, '\n'))
}
