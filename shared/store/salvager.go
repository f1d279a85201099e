package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"

	"belabox-metrics/migrations"
	"belabox-metrics/shared/datafile"
	"belabox-metrics/shared/store/internal/salvage"
)

// salvager fills the new file.
type salvager struct {
	o       Options
	version int // of the damaged file
	report  Salvaged
	skipped int64 // rows that were read and not taken over
	wrong   bool  // an account had a number that none can have
	unread  salvage.Unread

	db      *sql.DB
	tx      *sql.Tx
	insert  map[string]*sql.Stmt // by table and number of values
	columns map[string][]string
}

func (s *salvager) run(ctx context.Context) (err error) {
	path := s.o.Path + newSuffix
	if err := createFile(path); err != nil {
		return err
	}
	// Nobody else has it, and a crash throws it away: no journal, no syncs.
	q := url.Values{"_pragma": {
		fmt.Sprintf("page_size(%d)", newPageSize), "journal_mode(OFF)", "synchronous(OFF)",
		"cache_size(-8192)", "temp_store(MEMORY)", "foreign_keys(1)", "trusted_schema(0)",
	}}
	if s.o.MaxPages > 0 {
		q.Add("_pragma", fmt.Sprintf("max_page_count(%d)", s.o.MaxPages))
	}
	if s.db, err = sql.Open("sqlite", (&url.URL{Scheme: "file", Path: path, RawQuery: q.Encode()}).String()); err != nil {
		return err
	}
	s.db.SetMaxOpenConns(1)
	err = s.fill(ctx)
	if err = errors.Join(err, s.db.Close()); err != nil {
		return err
	}
	return syncLike(path, s.o.Path)
}

// syncLike brings a file to the disk, with mode and owner of another one where
// that is there.
func syncLike(path, like string) error {
	f, err := datafile.Open(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	if info, err := os.Stat(like); err == nil {
		_ = f.Chmod(info.Mode().Perm())
		chownLike(f, info) // root may have been the one to start a command
	}
	return errors.Join(f.Sync(), f.Close())
}

// fill copies, upgrades, and puts in order.
func (s *salvager) fill(ctx context.Context) error {
	steps := migrations.All()
	for _, step := range steps[:s.version] {
		if err := runStep(ctx, s.db, step); err != nil {
			return err
		}
	}
	if err := s.inTx(ctx, s.copyRows); err != nil {
		return err
	}
	for _, step := range steps[s.version:] {
		if err := runStep(ctx, s.db, step); err != nil {
			return fmt.Errorf("upgrade by %s: %w", step.Name, err)
		}
	}
	return s.inTx(ctx, s.repair)
}

func (s *salvager) inTx(ctx context.Context, f func(context.Context) error) (err error) {
	if s.tx, err = s.db.BeginTx(context.WithoutCancel(ctx), nil); err != nil {
		return err
	}
	if err := f(ctx); err != nil {
		return errors.Join(err, s.tx.Rollback())
	}
	return s.tx.Commit()
}

// copyRows takes over every row that fits the table it belongs to.
func (s *salvager) copyRows(ctx context.Context) (err error) {
	s.insert, s.columns = map[string]*sql.Stmt{}, map[string][]string{}
	for table, since := range map[string]int{"ledger": firstMarked, "outbox": firstMarked, "epochs": firstEpochs} {
		if s.version < since {
			continue // an empty file has rows in these
		}
		if _, err := s.tx.ExecContext(ctx, "DELETE FROM "+table); err != nil {
			return err
		}
	}
	n := 0
	s.unread, err = salvage.Rows(ctx, s.o.Path, func(r salvage.Row) error {
		if n++; n%1000 == 0 {
			if err := ctx.Err(); err != nil {
				return err
			}
		}
		table := tableOf(r, s.version)
		if table == "ledger" && !possible(r.Values[0].(string), r.Values[1].(int64)) {
			s.wrong = true
			return nil
		}
		return s.add(table, r)
	})
	s.report.BadPages = s.unread.Pages
	return err
}

// add inserts a row; one that the table refuses is not one.
func (s *salvager) add(table string, r salvage.Row) error {
	columns, err := s.columnsOf(table)
	if err != nil {
		return err
	}
	if len(columns) == 0 || len(r.Values) == 0 {
		if r.HasID && !r.Free { // an entry of an index is none
			s.skipped++
		}
		return nil
	}
	values := r.Values[:min(len(r.Values), len(columns))] // columns of others stand behind ours
	if r.HasID && values[0] == nil {
		values[0] = r.RowID
	}
	stmt, err := s.insertInto(table, columns[:len(values)])
	if err != nil {
		return err
	}
	_, err = stmt.Exec(values...)
	if isRefusal(err) {
		s.skipped++
		return nil
	}
	return err
}

func (s *salvager) columnsOf(table string) ([]string, error) {
	if columns, known := s.columns[table]; known || table == "" {
		return columns, nil
	}
	columns, err := all(context.Background(), s.tx, scanOne[string], `SELECT i.name FROM sqlite_schema t, pragma_table_info(t.name) i
		WHERE t.type = 'table' AND t.name = ? ORDER BY i.cid`, table)
	s.columns[table] = columns
	return columns, err
}
