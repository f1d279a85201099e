package testkit

import (
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Rules of docs/architecture.md that the compiler does not check. It only keeps other packages from
// importing an internal one.

const module = "belabox-metrics/"

// pkg is what "go list" prints about a package. Paths within the module are without
// the module's name.
type pkg struct {
	ImportPath   string
	Imports      []string
	TestImports  []string
	XTestImports []string
}

func (p pkg) allImports() []string {
	return slices.Concat(p.Imports, p.TestImports, p.XTestImports)
}

// under reports whether a package is one of the given folders or below.
func under(path string, folders ...string) bool {
	return slices.ContainsFunc(folders, func(f string) bool {
		return path == f || strings.HasPrefix(path, f+"/")
	})
}

// isHelper reports whether a package exists for tests: testkit, and by Go's custom
// any whose name ends in test.
func isHelper(path string) bool {
	return path == "testing" || under(path, "shared/testkit", "e2e", "bench") || strings.HasSuffix(path, "test")
}

func isSQL(path string) bool { return path == "database/sql" || under(path, "modernc.org/sqlite") }

var layers = []struct {
	rule    string
	forbids func(from pkg, to string) bool // to is a direct import of from outside its tests
	tests   bool                           // the rule holds for imports of tests too
}{
	{
		rule:  "shared/ imports no daemon",
		tests: true,
		forbids: func(from pkg, to string) bool {
			return under(from.ImportPath, "shared") && under(to, "collectord", "shipperd", "docker")
		},
	},
	{
		rule:  "the programs share nothing but shared/",
		tests: true,
		forbids: func(from pkg, to string) bool {
			programs := []string{"collectord", "shipperd", "docker/receiver"}
			return slices.ContainsFunc(programs, func(a string) bool {
				return under(from.ImportPath, a) && slices.ContainsFunc(programs, func(b string) bool {
					return a != b && under(to, b)
				})
			})
		},
	},
	{
		rule: "SQL is in shared/store only; the receiver has a database of its own",
		forbids: func(from pkg, to string) bool {
			return isSQL(to) && !under(from.ImportPath, "shared/store", "docker/receiver")
		},
	},
	{
		rule:  "tests of the daemons use the database through shared/store too",
		tests: true,
		forbids: func(from pkg, to string) bool {
			return isSQL(to) && under(from.ImportPath, "collectord", "shipperd")
		},
	},
	{
		rule: "logs are written by log/slog; shared/health and shared/logx turn net/http's own lines into it",
		forbids: func(from pkg, to string) bool {
			return to == "log" && from.ImportPath != "shared/health" && from.ImportPath != "shared/logx"
		},
	},
	{
		rule: "no program starts another one",
		forbids: func(from pkg, to string) bool {
			return to == "os/exec" && !isHelper(from.ImportPath) && !under(from.ImportPath, "scripts")
		},
	},
	{
		rule: "test helpers stay in tests",
		forbids: func(from pkg, to string) bool {
			return isHelper(to) && !isHelper(from.ImportPath)
		},
	},
	{
		rule: "testkit has no dependencies",
		forbids: func(from pkg, to string) bool {
			return from.ImportPath == "shared/testkit" && strings.Contains(to, ".")
		},
	},
}

// broken returns a sentence for each import that breaks a rule.
func broken(pkgs []pkg) (faults []string) {
	for _, p := range pkgs {
		for _, layer := range layers {
			imports := p.Imports
			if layer.tests {
				imports = p.allImports()
			}
			for _, to := range imports {
				if layer.forbids(p, to) {
					faults = append(faults, fmt.Sprintf("%s imports %s: %s", p.ImportPath, to, layer.rule))
				}
			}
		}
	}
	return faults
}

func TestLayers(t *testing.T) {
	t.Parallel()
	for _, goos := range []string{"linux", "darwin"} {
		pkgs := goList(t, goos)
		if !slices.ContainsFunc(pkgs, func(p pkg) bool { return p.ImportPath == "shared/testkit" }) {
			t.Fatalf("go list names %d packages and not this one", len(pkgs))
		}
		for _, fault := range broken(pkgs) {
			t.Errorf("%s: %s", goos, fault)
		}
	}
}

func TestLayers_Catch(t *testing.T) {
	t.Parallel()
	f := func(p pkg, want string) {
		t.Helper()
		if got := strings.Join(broken([]pkg{p}), "; "); got != want {
			t.Errorf("%+v: %q, want %q", p, got, want)
		}
	}
	f(pkg{ImportPath: "shared/x", Imports: []string{"collectord/internal/proc"}},
		"shared/x imports collectord/internal/proc: shared/ imports no daemon")
	f(pkg{ImportPath: "shared/x", XTestImports: []string{"shipperd"}},
		"shared/x imports shipperd: shared/ imports no daemon")
	f(pkg{ImportPath: "collectord", Imports: []string{"shipperd/x"}},
		"collectord imports shipperd/x: the programs share nothing but shared/")
	f(pkg{ImportPath: "docker/receiver", Imports: []string{"collectord", "database/sql"}},
		"docker/receiver imports collectord: the programs share nothing but shared/")
	f(pkg{ImportPath: "shared/storekeeper", Imports: []string{"database/sql"}},
		"shared/storekeeper imports database/sql: SQL is in shared/store only; the receiver has a database of its own")
	f(pkg{ImportPath: "shipperd/internal/ship", TestImports: []string{"modernc.org/sqlite"}},
		"shipperd/internal/ship imports modernc.org/sqlite: tests of the daemons use the database through shared/store too")
	f(pkg{ImportPath: "shared/run", Imports: []string{"log", "log/slog"}},
		"shared/run imports log: logs are written by log/slog; shared/health and shared/logx turn net/http's own lines into it")
	f(pkg{ImportPath: "shared/run", Imports: []string{"os/exec"}}, "shared/run imports os/exec: no program starts another one")
	f(pkg{ImportPath: "shared/run", Imports: []string{"shared/testkit"}}, "shared/run imports shared/testkit: test helpers stay in tests")
	f(pkg{ImportPath: "shared/testkit", Imports: []string{"gopkg.in/yaml.v3"}},
		"shared/testkit imports gopkg.in/yaml.v3: testkit has no dependencies")
	f(pkg{ImportPath: "shared/run", TestImports: []string{"shared/testkit", "testing", "os/exec"}}, "")
	f(pkg{ImportPath: "shared/store/x", Imports: []string{"database/sql", "modernc.org/sqlite"}}, "")
	f(pkg{ImportPath: "migrations", TestImports: []string{"database/sql"}}, "")
}

// goList runs the go command, which applies the build tags.
func goList(t *testing.T, goos string) []pkg {
	t.Helper()
	cmd := exec.Command("go", "list", "-e", "-json=ImportPath,Imports,TestImports,XTestImports", "./...")
	cmd.Dir = ModuleRoot(t)
	cmd.Env = append(os.Environ(), "GOOS="+goos, "CGO_ENABLED=0")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v: %s", err, stderr.String())
	}
	var pkgs []pkg
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return pkgs
		} else if err != nil {
			t.Fatal(err)
		}
		p.ImportPath = strings.TrimPrefix(p.ImportPath, module)
		for _, list := range [][]string{p.Imports, p.TestImports, p.XTestImports} {
			for i := range list {
				list[i] = strings.TrimPrefix(list[i], module)
			}
		}
		pkgs = append(pkgs, p)
	}
}

// outgoing are the names that open a connection.
var outgoing = map[string][]string{
	"net/http": {
		"Get", "Head", "Post", "PostForm", "NewRequest", "NewRequestWithContext",
		"Client", "DefaultClient", "Transport", "DefaultTransport",
	},
	"net": {"Dial", "DialTimeout", "DialTCP", "DialUDP", "DialIP", "Dialer"},
}

// TestLayers_CollectordDialsNobody: collectord listens on its health port and opens no connection.
func TestLayers_CollectordDialsNobody(t *testing.T) {
	t.Parallel()
	files := 0
	err := filepath.WalkDir(filepath.Join(ModuleRoot(t), "collectord"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		files++
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		calls, err := dials(path, text)
		for _, call := range calls {
			t.Errorf("%s uses %s: collectord opens no outgoing connection", path, call)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if files == 0 {
		t.Error("no files of collectord found")
	}
}

func TestDials(t *testing.T) {
	t.Parallel()
	got, err := dials("x.go", []byte(`package x
import ("net"; web "net/http"; "os")
var c web.Client
func f() { net.Listen("tcp", ""); net.Dial("tcp", ""); os.Exit(1); var s web.Server; s.Close() }
`))
	if want := []string{"net/http.Client", "net.Dial"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
}

// dials returns the uses of outgoing names in a file.
func dials(name string, text []byte) (calls []string, err error) {
	file, err := parser.ParseFile(token.NewFileSet(), name, text, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	imports := map[string]string{} // the name in this file: the path
	for _, spec := range file.Imports {
		path := strings.Trim(spec.Path.Value, `"`)
		local := path[strings.LastIndexByte(path, '/')+1:]
		if spec.Name != nil {
			local = spec.Name.Name
		}
		imports[local] = path
	}
	ast.Inspect(file, func(n ast.Node) bool {
		if sel, ok := n.(*ast.SelectorExpr); ok {
			if id, ok := sel.X.(*ast.Ident); ok && slices.Contains(outgoing[imports[id.Name]], sel.Sel.Name) {
				calls = append(calls, imports[id.Name]+"."+sel.Sel.Name)
			}
		}
		return true
	})
	return calls, nil
}
