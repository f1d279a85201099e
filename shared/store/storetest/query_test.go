package storetest_test

import (
	"database/sql"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"belabox-metrics/shared/store"
	"belabox-metrics/shared/store/storetest"
)

func TestQuery(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "metrics.db")
	in, err := store.OpenInserter(t.Context(), store.Options{Path: path, Daemon: "test"}, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close(t.Context()) //nolint:errcheck // the test ends
	a, b := store.NewSeries("d", "a", store.Number), store.NewSeries("d", "b", store.Number)
	if _, err := in.Insert(t.Context(), time.Now(), []store.Sample{{Series: a, Value: 1}, {Series: b, Value: 2}}); err != nil {
		t.Fatal(err)
	}
	var names []string
	storetest.Query(t, path, "SELECT name FROM metric_rows ORDER BY value", func(rows *sql.Rows) error {
		var name string
		err := rows.Scan(&name)
		names = append(names, name)
		return err
	})
	if want := []string{"a", "b"}; !slices.Equal(names, want) {
		t.Errorf("got %q, want %q", names, want)
	}
}
