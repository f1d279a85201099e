package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"belabox-metrics/migrations"
	"belabox-metrics/shared/clock"
	"belabox-metrics/shared/store/internal/salvage"
)

// examine makes the files fit to be opened, by the process that is alone with them. doubt is the
// reason why the server may have rows that are pending in the file, "" if there is none.
func (l *openLock) examine(ctx context.Context, o Options) (doubt string, err error) {
	p, err := readPlan(o.Path)
	if err != nil {
		return "", err
	}
	if p != nil {
		if p.Rescued {
			doubt = p.Made.Reason
		}
		return doubt, salvageFile(ctx, o, *p)
	}
	// An exchange that was decided has its plan: what is left here was not.
	if err := removeFile(o.Path + newSuffix); err != nil {
		return "", err
	}
	last := l.read()
	main, mainErr := os.Stat(o.Path)
	wal, walErr := os.Stat(o.Path + "-wal")
	hasWAL := walErr == nil && wal.Size() > 0
	other := last.known && mainErr == nil && !last.is(last.db, main)
	switch {
	case hasWAL && other && last.is(last.wal, wal):
		if err := setWALAside(o, wal.Size()); err != nil {
			return "", err
		}
	case hasWAL && (mainErr != nil || main.Size() == 0):
		return "", salvageFile(ctx, o, newPlan(o, "there is a WAL, and its database is missing or empty"))
	default:
		// A power cut leaves a torn WAL, too, when it was not synced: sectors reach the
		// disk in any order. SQLite takes what stands before the break, and that is what
		// was promised. Within one boot nothing but damage does it.
		damage, err := salvage.Inspect(o.Path, last.known && last.boot != clock.BootID())
		if err != nil {
			return "", err
		}
		if damage != "" {
			return "", salvageFile(ctx, o, newPlan(o, damage))
		}
	}
	switch {
	case other:
		return "another database file stands in the place of the one that was open last", nil
	case mainErr == nil && last.open && (walErr != nil || !last.is(last.wal, wal)):
		return "the WAL of a database that was not closed is gone", nil
	}
	return "", nil
}

func newPlan(o Options, reason string) plan { return plan{Found: o.Now().UTC(), Reason: reason} }

// setWALAside keeps SQLite from applying a WAL to a database that it is not of.
func setWALAside(o Options, bytes int64) error {
	name, err := asideName(o.Path, o.Now())
	if err != nil {
		return err
	}
	report := Salvaged{
		Time: o.Now().UTC(), Bytes: bytes, Aside: name,
		Reason: "the database was replaced while it was in use: the WAL is of the old one",
	}
	if err := report.write(); err != nil {
		return err
	}
	o.Log.Warn("WAL of another database set aside", "reason", report.Reason, "kept_as", report.Aside+"-wal")
	return errors.Join(moveAside(o.Path, name, "-wal"), moveAside(o.Path, name, "-shm"))
}

// salvageFile makes a new file of what can be read of the damaged one, and exchanges
// them. Crash windows: until the plan says that the new file is made, the next start
// begins anew; from then on it only exchanges.
func salvageFile(ctx context.Context, o Options, p plan) error {
	if p.Made == nil {
		if err := makeNew(ctx, o, &p); err != nil {
			return err
		}
	}
	if err := p.Made.write(); err != nil {
		return err
	}
	for _, s := range []string{"-wal", "-shm", ""} {
		if _, err := os.Lstat(o.Path + newSuffix); errors.Is(err, fs.ErrNotExist) {
			break // a crash came behind the last rename
		}
		if err := moveAside(o.Path, p.Made.Aside, s); err != nil {
			return err
		}
		o.at("set aside" + s)
	}
	if err := os.Rename(o.Path+newSuffix, o.Path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("put the salvaged file in its place: %w", err)
	}
	o.at("exchanged")
	if err := syncFolder(o.Path); err != nil {
		return err
	}
	drafts, err := filepath.Glob(globQuote(o.Path+planSuffix) + ".*.new") // of processes that crashed
	for _, name := range append(drafts, o.Path+planSuffix) {
		err = errors.Join(err, removeFile(name))
	}
	if err := errors.Join(err, syncFolder(o.Path)); err != nil {
		return err
	}
	r := p.Made
	o.Log.Warn("database salvaged", "rows", r.Rows, "loss", r.LostText(), "asked", r.Asked,
		"dead_letters", r.DeadLetters, "bad_pages", r.BadPages, "damaged_file", r.Aside)
	return nil
}

// at is a named crash point of the tests.
func (o Options) at(point string) {
	if o.crash != nil {
		o.crash(point)
	}
}

func removeFile(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// salvagesPerHour keeps a card that fails again and again from being filled with
// damaged files.
const salvagesPerHour = 10

// recently counts the salvages of the last hour.
func recently(o Options) (n int) {
	all, _ := DamagedFiles(o.Path) // a report that cannot be read counts for nothing
	for _, s := range all {
		if age := o.Now().Sub(s.Time); 0 <= age && age < time.Hour {
			n++
		}
	}
	return n
}

// makeNew makes the new file, and completes the plan once it is on the disk.
func makeNew(ctx context.Context, o Options, p *plan) error {
	if err := p.write(o.Path); err != nil {
		return err
	}
	if n := recently(o); n >= salvagesPerHour {
		return fmt.Errorf("%w: it was salvaged %d times within an hour and is damaged again: replace the disk or card, or move the files %s%s* away to continue",
			ErrDamaged, n, o.Path, asideSuffix)
	}
	o.at("planned")
	for _, s := range []string{"", "-journal"} {
		if err := removeFile(o.Path + newSuffix + s); err != nil {
			return err
		}
	}
	version, err := damagedVersion(o.Path)
	if err != nil {
		return errors.Join(err, removeFile(o.Path+planSuffix)) // it is whole, in another way than ours
	}
	o.Log.Warn("database damaged, salvaging", "path", o.Path, "reason", p.Reason)
	s := &salvager{o: o, version: version, report: Salvaged{Time: p.Found, Reason: p.Reason, Uncounted: p.Uncounted}}
	if err := s.run(ctx); err != nil {
		return errors.Join(fmt.Errorf("salvage into %q: %w; it needs space for a second file", o.Path+newSuffix, classify(err)),
			removeFile(o.Path+newSuffix))
	}
	if s.report.Aside, err = asideName(o.Path, p.Found); err != nil {
		return err
	}
	s.report.Bytes = FileSize(o.Path) + WALSize(o.Path)
	o.at("made")
	p.Made = &s.report
	if err := p.write(o.Path); err != nil {
		return err
	}
	o.at("decided")
	return nil
}

// hasOurSchema reports whether the newest schema can be read in the damaged file, whatever its
// header says.
func hasOurSchema(path string) bool {
	db, closeView, err := salvage.View(path, nil)
	if err != nil {
		return false
	}
	err = checkSchema(context.Background(), db)
	return errors.Join(err, db.Close(), closeView()) == nil
}

// damagedVersion is the schema of a damaged file; the newest where its header is
// lost. A file of another program or of a newer version is refused, as when it is
// whole.
func damagedVersion(path string) (int, error) {
	app, version, ok, err := salvage.Identity(path)
	newest := migrations.Newest()
	if ok && (app != applicationID || version != newest) && hasOurSchema(path) {
		return newest, nil // bits of the header have flipped
	}
	switch {
	case err != nil:
		return 0, fmt.Errorf("read the damaged file: %w", err)
	case !ok || app == 0 && version == 0:
		return newest, nil
	case app == applicationID && version > newest:
		return 0, fmt.Errorf("schema %d, this program supports %d: %w", version, newest, ErrNewer)
	case app == applicationID && version >= firstMarked, app == 0 && 0 < version && version < firstMarked:
		return version, nil
	}
	return 0, ErrForeign
}
