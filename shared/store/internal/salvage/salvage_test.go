package salvage

import (
	"bytes"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	_ "modernc.org/sqlite"

	"belabox-metrics/shared/testkit"
)

// made is a database of SQLite's own making, with every kind of value, page and
// tree, half of it in a WAL.
type made struct {
	path string
	rows map[string]string // by table and key, as SQLite shows them
}

func sample(t testing.TB, pageSize int) made {
	t.Helper()
	path := filepath.Join(t.TempDir(), "some.db")
	db, err := sql.Open("sqlite", fmt.Sprintf("file:%s?_pragma=page_size(%d)&_pragma=synchronous(OFF)&_pragma=wal_autocheckpoint(0)", path, pageSize))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	exec := func(query string, args ...any) {
		t.Helper()
		if _, err := db.Exec(query, args...); err != nil {
			t.Fatalf("%s: %v", query, err)
		}
	}
	exec("PRAGMA journal_mode = WAL")
	exec("PRAGMA application_id = 77; PRAGMA user_version = 5")
	exec("CREATE TABLE a (id INTEGER PRIMARY KEY, v, w TEXT UNIQUE)")
	exec("CREATE TABLE b (k TEXT PRIMARY KEY, v) WITHOUT ROWID")
	values := []any{
		nil, 0, 1, -1, 127, 128, -32768, 1 << 20, -(1 << 30), int64(1) << 40, -(int64(1) << 50), int64(math.MinInt64), int64(math.MaxInt64),
		0.5, -1e300, 3.0, "", "text", strings.Repeat("long ", 3000),
		[]byte{},
		[]byte{0, 255},
		bytes.Repeat([]byte("blob"), 5000),
	}
	dice := rand.New(rand.NewPCG(uint64(pageSize), 0))
	for i := range 300 {
		v := values[i%len(values)]
		id := int64(i) - 150
		if i%5 == 0 {
			id = dice.Int64() - dice.Int64()
		}
		exec("INSERT OR IGNORE INTO a VALUES (?, ?, ?)", id, v, fmt.Sprint("w", i))
		exec("INSERT INTO b VALUES (?, ?)", fmt.Sprint("key ", dice.Int64()), v)
		if i == 150 {
			exec("PRAGMA wal_checkpoint(TRUNCATE)")
		}
	}
	exec("DELETE FROM a WHERE id % 3 = 0") // pages become free
	m := made{path: filepath.Join(t.TempDir(), "copy.db"), rows: map[string]string{}}
	for table, key := range map[string]string{"a": "id", "b": "k"} {
		rows, err := db.Query("SELECT " + key + ", v FROM " + table)
		if err != nil {
			t.Fatal(err)
		}
		for rows.Next() {
			var k, v any
			if err := rows.Scan(&k, &v); err != nil {
				t.Fatal(err)
			}
			m.rows[fmt.Sprint(table, " ", k)] = fmt.Sprintf("%T %v", v, v)
		}
		if err := rows.Err(); err != nil {
			t.Fatal(err)
		}
		rows.Close()
	}
	for _, s := range []string{"", "-wal"} {
		write(t, m.path+s, content(t, path+s))
	}
	return m
}

// read returns the rows of tables a and b that are not on free pages.
func read(t testing.TB, path string) (rows map[string]string, badPages int) {
	t.Helper()
	rows = map[string]string{}
	unread, err := Rows(t.Context(), path, func(r Row) error {
		if r.Free || len(r.Values) == 0 {
			return nil
		}
		var v any
		if len(r.Values) > 1 {
			v = r.Values[1]
		}
		key, isText := r.Values[0].(string)
		switch {
		case r.HasID && r.Values[0] == nil:
			rows[fmt.Sprint("a ", r.RowID)] = fmt.Sprintf("%T %v", v, v)
		case !r.HasID && isText && strings.HasPrefix(key, "key "):
			rows["b "+key] = fmt.Sprintf("%T %v", v, v)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return rows, unread.Pages
}

// TestRows_LikeSQLite: a whole file reads as SQLite reads it, at every page size,
// from the WAL as from the file.
func TestRows_LikeSQLite(t *testing.T) {
	t.Parallel()
	for _, size := range []int{512, 1024, 4096, 65536} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			t.Parallel()
			m := sample(t, size)
			compare := func(what string) {
				t.Helper()
				got, bad := read(t, m.path)
				if bad > 0 || !maps.Equal(got, m.rows) {
					t.Errorf("%s: %d rows, want %d; %d bad pages", what, len(got), len(m.rows), bad)
					for k, v := range m.rows {
						if got[k] != v {
							t.Fatalf("row %s is %.80s, want %.80s", k, got[k], v)
						}
					}
				}
			}
			compare("with a WAL")
			damaged := func() string {
				t.Helper()
				damage, err := Inspect(m.path, false)
				if err != nil {
					t.Fatal(err)
				}
				return damage
			}
			if got := damaged(); got != "" {
				t.Errorf("with a WAL: %s", got)
			}
			if app, version, ok, err := Identity(m.path); app != 77 || version != 5 || !ok || err != nil {
				t.Errorf("identity %d, %d, %v, %v", app, version, ok, err)
			}
			db, err := sql.Open("sqlite", m.path)
			if err == nil {
				_, err = db.Exec("PRAGMA wal_checkpoint(TRUNCATE)")
			}
			if err != nil {
				t.Fatal(err)
			}
			db.Close()
			compare("without one")
			if got := damaged(); got != "" {
				t.Errorf("without one: %s", got)
			}
			info, err := os.Stat(m.path)
			if err == nil {
				err = os.Truncate(m.path, info.Size()-1)
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := damaged(); !strings.HasPrefix(got, "the file is cut off") {
				t.Errorf("one byte less: %q", got)
			}
		})
	}
}

// TestOpen_PageSize: without a header it is found out.
func TestOpen_PageSize(t *testing.T) {
	t.Parallel()
	for _, size := range []int{512, 1024, 2048, 4096, 8192} {
		m := sample(t, size)
		wal := content(t, m.path+"-wal")
		for name, prepare := range map[string]func(){
			"by the WAL": func() {},
			"by the frames of a WAL without a header": func() { write(t, m.path+"-wal", append(make([]byte, 32), wal[32:]...)) },
			"by the pages": func() {
				write(t, m.path+"-wal", wal)
				db, err := sql.Open("sqlite", m.path)
				if err == nil {
					_, err = db.Exec("PRAGMA wal_checkpoint(TRUNCATE)")
				}
				if err != nil {
					t.Fatal(err)
				}
				db.Close()
			},
		} {
			if name == "by the pages" {
				prepare()
				file := content(t, m.path)
				clear(file[:100])
				write(t, m.path, file)
			} else {
				prepare()
			}
			f, err := openFile(m.path)
			if err != nil {
				t.Fatal(err)
			}
			if f.pageSize != size {
				t.Errorf("%s: page size %d, want %d", name, f.pageSize, size)
			}
			f.close()
		}
	}
}

func content(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func write(t testing.TB, path string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestWAL_Faults: what SQLite would leave out shows, and what a power cut leaves
// is no fault.
func TestWAL_Faults(t *testing.T) {
	t.Parallel()
	m := sample(t, 1024)
	log := content(t, m.path+"-wal")
	const frame = frameHeaderSize + 1024
	frames := (len(log) - walHeaderSize) / frame
	f := func(name string, broken bool, change func(b []byte) []byte) *wal {
		t.Helper()
		path := filepath.Join(t.TempDir(), "x-wal")
		write(t, path, change(slices.Clone(log)))
		w, err := readWAL(path, 1024)
		if err != nil {
			t.Fatal(err)
		}
		w.close()
		if w.broken() != broken {
			t.Errorf("%s: %+v, want broken %v", name, w, broken)
		}
		return w
	}
	whole := f("whole", false, func(b []byte) []byte { return b })
	if whole.good != frames || whole.bytes != int64(len(log)) {
		t.Errorf("whole: %+v, want %d frames", whole, frames)
	}
	f("empty", false, func([]byte) []byte { return nil })
	f("cut off in a frame", false, func(b []byte) []byte { return b[:len(b)/2] })
	f("the last frame torn", false, func(b []byte) []byte { b[len(b)-1]++; return b })
	f("zeros at the end", false, func(b []byte) []byte { return append(b, make([]byte, 5*frame)...) })
	f("frames of an earlier round at the end", false, func(b []byte) []byte {
		old := slices.Clone(b[walHeaderSize : walHeaderSize+10*frame])
		for i := range 10 {
			old[i*frame+8]++ // another salt
		}
		return append(b, old...)
	})
	f("no header", true, func(b []byte) []byte { clear(b[:32]); return b })
	f("not a WAL", true, func([]byte) []byte { return []byte(strings.Repeat("hello ", 1000)) })
	torn := f("a frame in the middle torn", true, func(b []byte) []byte { b[walHeaderSize+frames/2*frame+100]++; return b })
	if torn.good == 0 || torn.good > frames/2 || torn.behind < frames/2-2 {
		t.Errorf("torn in the middle: %+v of %d", torn, frames)
	}
	f("its checksum torn too", true, func(b []byte) []byte { b[walHeaderSize+frames/2*frame+17]++; return b })
	f("no file", false, func(b []byte) []byte { return nil })
	if w, err := readWAL(filepath.Join(t.TempDir(), "none"), 1024); err != nil || w.bytes != 0 || w.broken() {
		t.Errorf("no file: %+v, %v", w, err)
	}
}

// TestFile_Large: offsets beyond 4 GiB, which do not fit in 32 bits. Up to there the file is a
// hole.
func TestFile_Large(t *testing.T) {
	t.Parallel()
	const size, limit = 65536, 4 << 30
	m := sample(t, size)
	if err := os.Remove(m.path + "-wal"); err != nil {
		t.Fatal(err)
	}
	pages := content(t, m.path)[size:]
	file, err := os.OpenFile(m.path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = file.WriteAt(pages, limit)
	if err = errors.Join(err, file.Close()); err != nil {
		t.Fatal(err)
	}
	f, err := openFile(m.path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.close() //nolint:errcheck // it was only read
	if want := (limit + int64(len(pages))) / size; f.pages != want {
		t.Errorf("%d pages, want %d", f.pages, want)
	}
	page := make([]byte, size)
	for at := 0; at < len(pages); at += size {
		if f.readPage((limit+int64(at))/size+1, page); !bytes.Equal(page, pages[at:at+size]) {
			t.Errorf("the page at %d differs", limit+int64(at))
		}
	}
	f.wal.file, f.wal.frames[2] = f.main, limit // a frame of a WAL as large
	if f.readPage(2, page); !bytes.Equal(page, pages[:size]) {
		t.Error("the page in the WAL differs")
	}
	f.wal.file = nil
}

// TestRows_Missing: a header may speak of more pages than an int of 32 bits can count.
func TestRows_Missing(t *testing.T) {
	t.Parallel()
	m := sample(t, 1024)
	if err := os.Remove(m.path + "-wal"); err != nil {
		t.Fatal(err)
	}
	file := content(t, m.path)
	copy(file[28:], "\xff\xff\xff\xff")
	write(t, m.path, file)
	unread, err := Rows(t.Context(), m.path, func(Row) error { return nil })
	if want := math.MaxUint32 - int64(len(file))/1024; err != nil || unread.Missing != want {
		t.Errorf("%+v, %v, want %d missing pages", unread, err, want)
	}
}

// TestRows_Garbage reads files in which bytes were changed at random, where pages
// name each other above all: it ends soon, each time.
func TestRows_Garbage(t *testing.T) {
	t.Parallel()
	m := sample(t, 512)
	main, wal := content(t, m.path), content(t, m.path+"-wal")
	for range 60 {
		seed := rand.Uint64()
		dice := rand.New(rand.NewPCG(seed, 0))
		a, b := slices.Clone(main), slices.Clone(wal)
		for range 1 + dice.IntN(300) {
			page := dice.IntN(len(a) / 512)
			at := page*512 + dice.IntN(16)
			if dice.IntN(3) == 0 {
				at = dice.IntN(len(a))
			}
			a[at] = byte(dice.IntN(256))
			if dice.IntN(2) == 0 {
				a[at] = byte(dice.IntN(len(a)/512 + 1)) // a page number, as like as not
			}
		}
		for range dice.IntN(3) {
			b[dice.IntN(len(b))]++
		}
		path := filepath.Join(t.TempDir(), "x.db")
		write(t, path, a)
		write(t, path+"-wal", b)
		start := time.Now()
		rows, _ := read(t, path)
		if took := time.Since(start); took > testkit.WaitLimit || len(rows) > 10*len(m.rows) {
			t.Fatalf("seed %d: %d rows after %v", seed, len(rows), took)
		}
	}
}

// FuzzRows: whatever the bytes are, reading ends, and tells no row that does not
// stand in them.
func FuzzRows(f *testing.F) {
	m := sample(f, 512)
	file := content(f, m.path)
	f.Add(file[:min(len(file), 512*20)], []byte(nil))
	f.Add([]byte(magic), []byte("x"))
	f.Add([]byte{}, content(f, m.path+"-wal")[:32+536*8])
	loop := slices.Clone(file[:512*2])
	binary.BigEndian.PutUint32(loop[32:], 2) // a free list that is page 2, of which the next is itself
	binary.BigEndian.PutUint32(loop[512:], 2)
	f.Add(loop, []byte(nil))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, main, wal []byte) {
		path := filepath.Join(dir, "fuzz.db")
		write(t, path, main)
		write(t, path+"-wal", wal)
		size := 0
		if _, err := Rows(t.Context(), path, func(r Row) error {
			for _, v := range r.Values {
				switch v := v.(type) {
				case string:
					size = max(size, len(v))
				case []byte:
					size = max(size, len(v))
				}
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if size > len(main)+len(wal)+2*maxPageSize {
			t.Errorf("a value of %d bytes in a file of %d", size, len(main)+len(wal))
		}
		if _, err := Inspect(path, false); err != nil {
			t.Fatal(err)
		}
	})
}

// A format that is not there yet is damage: SQLite would only refuse to write.
func TestInspect_Format(t *testing.T) {
	t.Parallel()
	for _, at := range []int64{18, 19} {
		for format, bad := range map[byte]bool{1: false, 2: false, 3: true, 0x42: true} {
			m := sample(t, 1024)
			f, err := os.OpenFile(m.path, os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			_, err = f.WriteAt([]byte{format}, at)
			if err = errors.Join(err, f.Close()); err != nil {
				t.Fatal(err)
			}
			if damage, err := Inspect(m.path, false); err != nil || (damage != "") != bad {
				t.Errorf("format %d at %d: %q, %v", format, at, damage, err)
			}
		}
	}
}
