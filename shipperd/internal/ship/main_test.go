package ship

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"belabox-metrics/shared/store"
)

// emptyFile is a database without rows. Making one takes longer than most tests.
var emptyFile []byte

func TestMain(m *testing.M) {
	var err error
	if emptyFile, err = makeEmptyFile(); err != nil {
		fmt.Fprintln(os.Stderr, "make an empty database:", err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func makeEmptyFile() ([]byte, error) {
	dir, err := os.MkdirTemp("", "ship-test-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "empty.db")
	if err := store.Migrate(context.Background(), store.Options{Path: path}); err != nil {
		return nil, err
	}
	return os.ReadFile(path)
}
