package scripts

import (
	"bytes"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"belabox-metrics/shared/testkit"
)

// checkout copies what belongs to the repository to a folder, with other times.
func checkout(t *testing.T, to string) {
	t.Helper()
	root := testkit.ModuleRoot(t)
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		if entry.IsDir() {
			switch rel {
			case ".git", "bin", "dist", "run":
				return filepath.SkipDir
			}
			return os.MkdirAll(filepath.Join(to, rel), 0o777)
		}
		if !entry.Type().IsRegular() {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, rel), text, 0o777)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// buildDeb packs two small programs from a copy of the repository.
func buildDeb(t *testing.T, dir, umask string, env ...string) (deb []byte, file string) {
	t.Helper()
	checkout(t, dir)
	for _, program := range []string{"collectord", "shipperd"} {
		writeFile(t, filepath.Join(dir, "dist", "bin-linux-arm7", program), "the program "+program)
	}
	cmd := exec.Command("bash", "-c", "umask "+umask+"; exec scripts/deb.sh linux-arm7 1.2.3 dist")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), append(env, "SOURCE_DATE_EPOCH=1767225600", "DEBFULLNAME=T", "DEBEMAIL=t@example.com")...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	file = filepath.Join(dir, "dist", "belabox-metrics_1.2.3-1_armhf.deb")
	deb, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return deb, file
}

// The same sources give the same bytes, whatever the umask, the folder with its set-group-ID bit,
// the time zone and the language.
func TestDeb_SameBytes(t *testing.T) {
	t.Parallel()
	plain, file := buildDeb(t, t.TempDir(), "022", "TZ=UTC", "LC_ALL=C")
	odd := filepath.Join(t.TempDir(), "an odd folder")
	if err := os.Mkdir(odd, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Chmod(odd, 0o2770); err != nil {
		t.Fatal(err)
	}
	if os.Getuid() == 0 { // others can only choose among their own groups
		if err := syscall.Chown(odd, 0, 1234); err != nil {
			t.Fatal(err)
		}
		if err := syscall.Chmod(odd, 0o2770); err != nil {
			t.Fatal(err)
		}
	}
	strict, oddFile := buildDeb(t, odd, "077", "TZ=Asia/Tokyo", "LC_ALL=C.UTF-8")
	if !bytes.Equal(plain, strict) {
		list := func(file string) string {
			out, _ := exec.Command("dpkg-deb", "--contents", file).CombinedOutput()
			return string(out)
		}
		t.Errorf("two builds differ:\n%s\n%s", list(file), list(oddFile))
	}
	out, err := exec.Command("dpkg-deb", "--contents", file).Output()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		want := "-rw-r--r--"
		switch {
		case strings.HasPrefix(line, "d"):
			want = "drwxr-xr-x"
		case strings.HasPrefix(fields[len(fields)-1], "./usr/bin/"):
			want = "-rwxr-xr-x"
		}
		if fields[0] != want || fields[1] != "root/root" {
			t.Errorf("want %s of root: %s", want, line)
		}
	}
}

// TestDeb_Docs: the package has the pages to which its operations.md leads. Decisions are for
// developers.
func TestDeb_Docs(t *testing.T) {
	t.Parallel()
	root := testkit.ModuleRoot(t)
	page, err := os.ReadFile(filepath.Join(root, "docs/operations.md"))
	if err != nil {
		t.Fatal(err)
	}
	script, err := os.ReadFile(filepath.Join(root, "scripts/deb.sh"))
	if err != nil {
		t.Fatal(err)
	}
	installed := regexp.MustCompile(`docs/\{(.*)\}`).FindSubmatch(script)
	if installed == nil {
		t.Fatal("scripts/deb.sh installs no pages")
	}
	links := regexp.MustCompile(`\]\(([a-z-]+\.[a-z]+)[)#]`).FindAllSubmatch(page, -1)
	if len(links) < 5 {
		t.Errorf("%d links: the form must have changed", len(links))
	}
	for _, link := range links {
		if !slices.Contains(strings.Split(string(installed[1]), ","), string(link[1])) {
			t.Errorf("operations.md leads to %s, which scripts/deb.sh does not install", link[1])
		}
	}
}
