package docker

import (
	"debug/elf"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"belabox-metrics/shared/testkit"
)

// dockerfile is what the tests want to know of one.
type dockerfile struct {
	name   string
	args   map[string]string // ARG: default
	stages []stage
}

// stage is one FROM and what follows.
type stage struct {
	from, name string
	steps      []step
}

// step is one instruction, its lines joined.
type step struct{ verb, text string }

func readDockerfile(t testing.TB, name string) dockerfile {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	d := dockerfile{name: name, args: map[string]string{}}
	for line := range strings.Lines(strings.ReplaceAll(string(text), "\\\n", " ")) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		verb, rest, _ := strings.Cut(line, " ")
		switch verb {
		case "ARG":
			key, value, _ := strings.Cut(rest, "=")
			d.args[key] = value
		case "FROM":
			words := slices.DeleteFunc(strings.Fields(rest), func(w string) bool { return strings.HasPrefix(w, "--") })
			if len(words) != 3 || words[1] != "AS" {
				t.Fatalf("%s: FROM %s: want a name for each stage", name, rest)
			}
			d.stages = append(d.stages, stage{from: words[0], name: words[2]})
		default:
			if len(d.stages) == 0 {
				t.Fatalf("%s: %s stands before any FROM", name, verb)
			}
			last := &d.stages[len(d.stages)-1]
			rest = strings.TrimPrefix(strings.TrimSpace(rest), "--mount=type=cache,target=/root/.cache/go-build ") // of the builder
			last.steps = append(last.steps, step{verb, rest})
		}
	}
	return d
}

// build runs the go build of the first stage as it stands in the file, with the arguments that
// Docker would give it, and returns what is then in /out.
func (d dockerfile) build(t *testing.T, args map[string]string) (out string) {
	t.Helper()
	out = filepath.Join(t.TempDir(), "out")
	if err := os.Mkdir(out, 0o755); err != nil {
		t.Fatal(err)
	}
	ran := false
	for _, s := range d.stages[0].steps {
		if s.verb != "RUN" || strings.Contains(s.text, "go mod download") {
			continue // the modules are here already
		}
		ran = ran || strings.Contains(s.text, "go build")
		cmd := exec.Command("sh", "-ec", strings.ReplaceAll(s.text, "/out/", out+"/"))
		cmd.Dir = testkit.ModuleRoot(t)
		cmd.Env = os.Environ()
		for key, value := range d.args {
			if given, ok := args[key]; ok {
				value = given
			}
			cmd.Env = append(cmd.Env, key+"="+value)
		}
		if text, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: RUN %s: %v\n%s", d.name, s.text, err, text)
		}
	}
	if !ran {
		t.Fatalf("%s: its first stage builds nothing", d.name)
	}
	return out
}

// TestDockerfiles runs the build of each Dockerfile by hand and looks at what its images would
// hold.
func TestDockerfiles(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"Dockerfile", "Dockerfile.receiver"} {
		d := readDockerfile(t, name)
		out := d.build(t, map[string]string{"VERSION": "1.2.3-test", "COMMIT": "abcdef"})
		programs := 0
		for _, s := range d.stages[1:] {
			user := ""
			for _, step := range s.steps {
				words := strings.Fields(step.text)
				switch step.verb {
				case "COPY":
					source := words[len(words)-2]
					if slices.Contains(words, "--from=build") {
						source = filepath.Join(out, strings.TrimPrefix(source, "/out/"))
					} else {
						source = filepath.Join(testkit.ModuleRoot(t), source)
					}
					if _, err := os.Stat(source); err != nil {
						t.Errorf("%s: COPY %s: %v", name, step.text, err)
					}
				case "USER":
					user = step.text
				case "RUN":
					t.Errorf("%s: stage %s runs %s: an image without a shell cannot", name, s.name, step.text)
				case "ENTRYPOINT", "CMD":
					if !strings.HasPrefix(step.text, "[") {
						t.Errorf("%s: %s %s takes a shell", name, step.verb, step.text)
					}
					if program, ok := strings.CutPrefix(step.text, `["/usr/bin/belabox-`); ok && step.verb == "ENTRYPOINT" {
						programs++
						program, _, _ = strings.Cut(program, `"`)
						checkProgram(t, filepath.Join(out, program))
					}
				}
			}
			if strings.HasPrefix(s.from, "gcr.io/") && (user != "65532:65532" || !strings.HasSuffix(s.from, ":nonroot")) {
				t.Errorf("%s: stage %s runs as %q on %s", name, s.name, user, s.from)
			}
		}
		if want := map[string]int{"Dockerfile": 2, "Dockerfile.receiver": 1}[name]; programs != want {
			t.Errorf("%s makes %d programs, want %d", name, programs, want)
		}
		if info, err := os.Stat(filepath.Join(out, "data")); err != nil || info.Mode().Perm() != 0o750 {
			t.Errorf("%s: the folder for the data: %v, %v", name, info, err)
		}
	}
}

// checkProgram: static, so that it runs on an empty image, and of the version that was asked for.
func checkProgram(t *testing.T, file string) {
	t.Helper()
	f, err := elf.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if libraries, err := f.ImportedLibraries(); err == nil && len(libraries) > 0 || f.Section(".interp") != nil {
		t.Errorf("%s is not static: %v", path.Base(file), libraries)
	}
	text, err := exec.Command(file, "-version").Output()
	if want := " 1.2.3-test (commit abcdef, "; err != nil || !strings.Contains(string(text), want) {
		t.Errorf("%s -version: got %q, %v, want %q", path.Base(file), text, err, want)
	}
}

// TestDockerfiles_Health: the program of each image asks itself, with the configuration that it is
// started with.
func TestDockerfiles_Health(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]map[string]string{
		"Dockerfile": {
			"collectord": `["/usr/bin/belabox-collectord", "-healthcheck", "-config", "/etc/belabox-metrics/config.yaml"]`,
			"shipperd":   `["/usr/bin/belabox-shipperd", "-healthcheck", "-config", "/etc/belabox-metrics/config.yaml"]`,
		},
		"Dockerfile.receiver": {
			"receiver":        `["/usr/bin/belabox-receiver", "-healthcheck", "-listen", ":8427"]`,
			"victoriametrics": `["/usr/bin/belabox-receiver", "-healthcheck", "-listen", ":8428"]`,
		},
	} {
		got := map[string]string{}
		for _, s := range readDockerfile(t, name).stages {
			for _, step := range s.steps {
				if _, command, ok := strings.Cut(step.text, " CMD "); ok && step.verb == "HEALTHCHECK" {
					got[s.name] = command
				}
			}
		}
		if !maps.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
}

// TestDockerfiles_Go: the images are built with the Go of go.mod.
func TestDockerfiles_Go(t *testing.T) {
	t.Parallel()
	mod, err := os.ReadFile(filepath.Join(testkit.ModuleRoot(t), "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"Dockerfile", "Dockerfile.receiver"} {
		d := readDockerfile(t, name)
		if version := d.args["GO_VERSION"]; version == "" || !strings.Contains(string(mod), "\ngo "+version+"\n") {
			t.Errorf("%s builds with Go %q, go.mod says otherwise", name, version)
		}
	}
}

// TestDockerfiles_Platform: what Docker says of the platform reaches Go; a 32-bit board's variant
// is v7 there and 7 here.
func TestDockerfiles_Platform(t *testing.T) {
	t.Parallel()
	goBuild := regexp.MustCompile(`go build .*`)
	for _, name := range []string{"Dockerfile", "Dockerfile.receiver"} {
		d := readDockerfile(t, name)
		for _, s := range d.stages[0].steps {
			if !goBuild.MatchString(s.text) {
				continue
			}
			cmd := exec.Command("sh", "-ec", goBuild.ReplaceAllString(s.text, "go env GOOS GOARCH GOARM CGO_ENABLED"))
			cmd.Env = append(os.Environ(), "TARGETOS=linux", "TARGETARCH=arm", "TARGETVARIANT=v7")
			out, err := cmd.CombinedOutput()
			if got := strings.Join(strings.Fields(string(out)), " "); err != nil || got != "linux arm 7 0" {
				t.Errorf("%s: got %q, %v", name, got, err)
			}
		}
	}
}
