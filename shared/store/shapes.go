package store

import (
	"database/sql"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"syscall"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"belabox-metrics/shared/store/internal/salvage"
)

// tableOf says which table a row of a damaged file belongs to, by its shape; "" = none
// that can be told. Of the free pages only series count, because they never change and
// carry their own proof.
func tableOf(r salvage.Row, version int) string {
	shape := shapeOf(r.Values)
	if version < firstMarked {
		return oldTableOf(r, shape)
	}
	switch {
	case r.HasID && shape == "NBSSSI":
		if r.Free && !provenSeries(r) {
			return ""
		}
		return "series"
	case r.Free:
		return ""
	case r.HasID && r.RowID > MaxSeries && rowShape.MatchString(shape):
		return "metrics"
	case r.HasID && strings.HasPrefix(shape, "NSISIIBIIBII"):
		return "upload_checkpoints"
	case r.HasID && (len(shape) == 11 || len(shape) == 12 && shape[11] == 'I') && strings.HasPrefix(shape, "NSISS") && shape[7:11] == "ISSI":
		return "dead_letters"
	case r.HasID && slices.Contains([]string{"NSII", "NSIII", "NSIINIS", "NSIIIIS"}, shape):
		return "epochs"
	case r.HasID && shape == "NII":
		return "traffic"
	case !r.HasID && shape == "SI" && isAccount(r.Values[0]):
		return "ledger"
	}
	return daemonTable(r, shape)
}

// rowShape is that of a row of metrics, perhaps with columns of others behind its own.
var rowShape = regexp.MustCompile("^N[FN][SN]I")

// daemonTable knows the tables that are the same in all versions.
func daemonTable(r salvage.Row, shape string) string {
	switch {
	case r.HasID && (shape == "NSSSSINI" || shape == "NSSSSIII"):
		return "sessions"
	case !r.HasID && shape == "SSSSFI":
		return "daemon_stats"
	}
	return ""
}

// oldTableOf is for the wide rows of before the compact layout. Their columns may hold
// anything, but a name and a device.
func oldTableOf(r salvage.Row, shape string) string {
	if table := daemonTable(r, shape); table != "" || r.Free || !r.HasID {
		return table
	}
	if 6 <= len(shape) && len(shape) <= 10 && shape[0] == 'N' && shape[1] != 'S' && shape[1] != 'N' {
		return "metrics"
	}
	return ""
}

// shapeOf writes a row as one letter for each value: Null, Integer, Float,
// String, Blob. A float that is a whole number is stored as an integer, so the
// places where floats stand show as F for both.
func shapeOf(values []any) string {
	b := make([]byte, len(values))
	for i, v := range values {
		switch v.(type) {
		case nil:
			b[i] = 'N'
		case int64:
			b[i] = 'I'
		case float64:
			b[i] = 'F'
		case string:
			b[i] = 'S'
		case []byte:
			b[i] = 'B'
		}
	}
	if len(b) >= 4 && b[0] == 'N' && b[1] == 'I' { // metrics.value
		b[1] = 'F'
	}
	if len(b) == 6 && b[4] == 'I' { // daemon_stats.value
		b[4] = 'F'
	}
	return string(b)
}

// provenSeries checks a series against its own key.
func provenSeries(r salvage.Row) bool {
	key, _ := r.Values[1].([]byte)
	name, _ := r.Values[2].(string)
	tags, _ := r.Values[3].(string)
	device, _ := r.Values[4].(string)
	typ, _ := r.Values[5].(int64)
	want := seriesKey(device, name, tags, ValueType(typ))
	return slices.Equal(key, want[:])
}

func isAccount(v any) bool {
	name, _ := v.(string)
	return slices.Contains([]string{
		accountInserted, accountThrough, accountPruned, accountPrunedBelow, accountPrunedFrom, accountVerified, accountText, accountRejected,
	}, name) ||
		strings.HasPrefix(name, accountDropped)
}

// possible reports whether an account can have that number.
func possible(account string, n int64) bool {
	key := account == accountThrough || strings.HasPrefix(account, "pruned_")
	return 0 <= n && (key || n <= mostSamples)
}

// insertInto prepares the statement for rows with these columns.
func (s *salvager) insertInto(table string, columns []string) (*sql.Stmt, error) {
	key := fmt.Sprint(table, len(columns))
	if stmt := s.insert[key]; stmt != nil {
		return stmt, nil
	}
	stmt, err := s.tx.Prepare(fmt.Sprintf("INSERT OR IGNORE INTO %s (%s) VALUES (%s)", table, strings.Join(columns, ", "),
		strings.TrimSuffix(strings.Repeat("?,", len(columns)), ",")))
	s.insert[key] = stmt
	return stmt, err
}

// isRefusal reports whether a table did not take a row because of what is in it.
func isRefusal(err error) bool {
	var coded *sqlite.Error
	if !errors.As(err, &coded) {
		return false
	}
	code := coded.Code() & 0xff
	return code == sqlite3.SQLITE_CONSTRAINT || code == sqlite3.SQLITE_MISMATCH || code == sqlite3.SQLITE_TOOBIG
}

// chownLike gives a file the owner of another one, if this user may.
func chownLike(f *os.File, info os.FileInfo) {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		_ = f.Chown(int(st.Uid), int(st.Gid))
	}
}
