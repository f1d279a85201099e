package migrations

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"
)

func TestAll_Numbering(t *testing.T) {
	t.Parallel()
	name := regexp.MustCompile(`^\d{4}_[a-z0-9_]+\.sql$`)
	all := All()
	if len(all) < 6 || Newest() != len(all) {
		t.Fatalf("%d migrations, newest is %d", len(all), Newest())
	}
	for i, m := range all {
		if m.Version != i+1 {
			t.Errorf("migration %d has version %d", i+1, m.Version)
		}
		if !name.MatchString(m.Name) {
			t.Errorf("file name %q does not match %s", m.Name, name)
		}
		if want := fmt.Sprintf("-- Version %d: ", m.Version); !strings.HasPrefix(m.SQL, want) {
			t.Errorf("%s does not begin with %q and what it brings", m.Name, want)
		}
	}
}

func TestLoad(t *testing.T) {
	t.Parallel()
	f := func(want string, names ...string) {
		t.Helper()
		files := fstest.MapFS{"README.md": {}}
		for _, name := range names {
			files[name] = &fstest.MapFile{Data: []byte("-- " + name)}
		}
		defer func() {
			t.Helper()
			if got, _ := recover().(string); got != want {
				t.Errorf("%q: panic %q, want %q", names, got, want)
			}
		}()
		for i, m := range load(files) {
			if m.Version != i+1 || m.Name != names[i] || m.SQL != "-- "+names[i] {
				t.Errorf("%q: migration %d is %+v", names, i+1, m)
			}
		}
	}
	f("")
	f("", "0001_a.sql", "0002_b.sql", "0003_c.sql")
	f(`migrations: file "0003_c.sql" is not number 2`, "0001_a.sql", "0003_c.sql")
	f(`migrations: file "0002_b.sql" is not number 1`, "0002_b.sql")
	f(`migrations: file "0001_b.sql" is not number 2`, "0001_a.sql", "0001_b.sql")
	f(`migrations: file "first.sql" is not number 2`, "0001_a.sql", "first.sql")
	f(`migrations: file "_a.sql" is not number 1`, "_a.sql")
}
