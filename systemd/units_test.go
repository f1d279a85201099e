// Package systemd tests what is packaged beside the programs: the units, the man
// pages, the Debian package. With -tags systemdtest ("make test-systemd", as root)
// it boots a small Debian and puts the installed package through its life.
package systemd

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"belabox-metrics/shared/testkit"
)

var daemons = []string{"collectord", "shipperd"}

func unitFile(daemon string) string { return "belabox-" + daemon + ".service" }

// settings reads a unit file: "Service.Type" gives the values of all its lines.
// Units here need no line continuation, and have none.
func settings(t *testing.T, daemon string) map[string][]string {
	t.Helper()
	text, err := os.ReadFile(unitFile(daemon))
	if err != nil {
		t.Fatal(err)
	}
	all, section := map[string][]string{}, ""
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSuffix(line, "\n")
		if strings.HasPrefix(line, "[") {
			section = strings.Trim(line, "[]")
		}
		if key, value, ok := strings.Cut(line, "="); ok && !strings.HasPrefix(line, "#") {
			all[section+"."+key] = append(all[section+"."+key], value)
		}
	}
	return all
}

// TestUnits_Promises has what operators and the other tests rely on. What one
// daemon alone has is below.
func TestUnits_Promises(t *testing.T) {
	t.Parallel()
	for _, daemon := range daemons {
		got := settings(t, daemon)
		for key, want := range map[string]string{
			"Unit.StartLimitIntervalSec":      "0",
			"Service.Type":                    "notify",
			"Service.ExecStart":               "/usr/bin/belabox-" + daemon + " -config /etc/belabox-metrics/config.yaml",
			"Service.WatchdogSec":             "60s",
			"Service.Restart":                 "always",
			"Service.RestartSec":              "5s",
			"Service.User":                    "metrics",
			"Service.Group":                   "metrics",
			"Service.StateDirectory":          "belabox-metrics",
			"Service.ConfigurationDirectory":  "belabox-metrics",
			"Service.MemoryMax":               "200M",
			"Service.CPUQuota":                "20%",
			"Service.UMask":                   "0027",
			"Service.CapabilityBoundingSet":   "",
			"Service.NoNewPrivileges":         "yes",
			"Service.ProtectSystem":           "strict",
			"Service.ReadOnlyPaths":           "/etc/belabox-metrics",
			"Service.PrivateTmp":              "yes",
			"Service.ProtectProc":             "invisible",
			"Service.RestrictAddressFamilies": "AF_UNIX AF_INET AF_INET6",
			"Service.RestrictNamespaces":      "yes",
			"Service.MemoryDenyWriteExecute":  "yes",
			"Service.SystemCallFilter":        "@system-service ~@privileged @resources",
			"Install.WantedBy":                "multi-user.target",
		} {
			if value, there := got[key]; !there || strings.Join(value, " ") != want {
				t.Errorf("%s: %s is %q, want %q", daemon, key, value, want)
			}
		}
		// Neither needs the other, and no network is waited for.
		for key, values := range got {
			text := strings.Join(values, " ")
			if section, _, _ := strings.Cut(key, "."); section == "Unit" && (strings.Contains(text, "network-online") || strings.Contains(text, ".service")) {
				t.Errorf("%s: %s=%s", daemon, key, text)
			}
		}
	}
}

// TestUnits_Differ has the two units the same but for these settings.
func TestUnits_Differ(t *testing.T) {
	t.Parallel()
	want := []string{
		"Service.ExecPaths", "Service.ExecStart", "Service.IPAddressAllow", "Service.IPAddressDeny",
		"Service.ProcSubset", "Service.ProtectHome", "Unit.After", "Unit.Description", "Unit.Documentation",
	}
	a, b := settings(t, daemons[0]), settings(t, daemons[1])
	var got []string
	for key := range a {
		if !slices.Equal(a[key], b[key]) {
			got = append(got, key)
		}
	}
	for key := range b {
		if _, there := a[key]; !there {
			got = append(got, key)
		}
	}
	if slices.Sort(got); !slices.Equal(got, want) {
		t.Errorf("they differ in %q, want %q", got, want)
	}
	for key, want := range map[string][2]string{ // of collectord, of shipperd
		"Service.IPAddressDeny":  {"any", ""},
		"Service.IPAddressAllow": {"localhost", ""},
		"Service.ProcSubset":     {"", "pid"},
		"Service.ProtectHome":    {"read-only", "yes"},
	} {
		if got := [2]string{strings.Join(a[key], " "), strings.Join(b[key], " ")}; got != want {
			t.Errorf("%s: got %q, want %q", key, got, want)
		}
	}
}

// TestUnits_Security has systemd's own measure of the sandbox, 0 to 10: at most 1.5.
func TestUnits_Security(t *testing.T) {
	t.Parallel()
	for _, daemon := range daemons {
		out, err := exec.Command("systemd-analyze", "security", "--offline=true", "--threshold=15", "--no-pager", unitFile(daemon)).CombinedOutput()
		text := strings.TrimSpace(string(out))
		if err != nil {
			t.Errorf("%s: %v\n%s", daemon, err, text)
		}
		_, last, _ := strings.Cut(text, "→")
		t.Log(strings.TrimSpace(last))
	}
}

// TestUnits_Verify has systemd load both as they are installed.
func TestUnits_Verify(t *testing.T) {
	t.Parallel()
	root := installed(t)
	units := filepath.Join(root, "usr/lib/systemd/system")
	// verify wants the targets of the system and whatever stands in ExecStart.
	for _, daemon := range daemons {
		path := filepath.Join(units, unitFile(daemon))
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		local := strings.ReplaceAll(string(text), "/usr/bin/", root+"/usr/bin/")
		if err := os.WriteFile(path, []byte(local), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, daemon := range daemons {
		out, err := exec.Command("systemd-analyze", "verify", "--man=no", "--recursive-errors=one", filepath.Join(units, unitFile(daemon))).CombinedOutput()
		if err != nil || len(out) > 0 {
			t.Errorf("%s: %v\n%s", daemon, err, out)
		}
	}
}

// TestInstall has "make install" lay out what it should, and keep a configuration
// that is there.
func TestInstall(t *testing.T) {
	t.Parallel()
	root := installed(t)
	var got []string
	err := filepath.WalkDir(root, func(path string, entry os.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			info, infoErr := entry.Info()
			got, err = append(got, info.Mode().String()+" "+strings.TrimPrefix(path, root)), infoErr
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"-rw-r--r-- /etc/belabox-metrics/config.yaml",
		"-rwxr-xr-x /usr/bin/belabox-collectord",
		"-rwxr-xr-x /usr/bin/belabox-shipperd",
		"-rw-r--r-- /usr/lib/systemd/system/belabox-collectord.service",
		"-rw-r--r-- /usr/lib/systemd/system/belabox-shipperd.service",
		"-rw-r--r-- /usr/lib/sysusers.d/belabox-metrics.conf",
		"-rw-r--r-- /usr/lib/tmpfiles.d/belabox-metrics.conf",
		"-rw-r--r-- /usr/share/doc/belabox-metrics/operations.md",
		"-rw-r--r-- /usr/share/man/man5/belabox-metrics.yaml.5.gz",
		"-rw-r--r-- /usr/share/man/man8/belabox-collectord.8.gz",
		"-rw-r--r-- /usr/share/man/man8/belabox-shipperd.8.gz",
	}
	if !slices.Equal(got, want) {
		t.Errorf("installed\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	config := filepath.Join(root, "etc/belabox-metrics/config.yaml")
	if err := os.WriteFile(config, []byte("# mine\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	install(t, root)
	if text, err := os.ReadFile(config); err != nil || string(text) != "# mine\n" {
		t.Errorf("after a second installation the configuration is %q, %v", text, err)
	}
}

// installed is a folder with everything that "make install" puts into a system.
func installed(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	install(t, root)
	return root
}

func install(t *testing.T, root string) {
	t.Helper()
	bins := testkit.Binaries(t)
	// Without its "build": the programs are there, and not in the checkout's bin/.
	cmd := exec.Command("make", "install", "-o", "build", "DESTDIR="+root, "BIN="+filepath.Dir(bins.Collectord))
	cmd.Dir = testkit.ModuleRoot(t)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("make install: %v\n%s", err, out)
	}
}

// TestPreinst has the package refuse a user metrics that a person may be, and take its own or one
// that was made for it.
func TestPreinst(t *testing.T) {
	t.Parallel()
	f := func(entry, action string, wantCode int, wantText string) {
		t.Helper()
		bin := t.TempDir()
		stub := "#!/bin/sh\n[ \"$*\" = 'passwd metrics' ] && echo '" + entry + "' | grep .\n"
		if err := os.WriteFile(filepath.Join(bin, "getent"), []byte(stub), 0o755); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("sh", "deb/preinst", action)
		cmd.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"))
		out, err := cmd.CombinedOutput()
		if code := cmd.ProcessState.ExitCode(); code != wantCode || !strings.Contains(string(out), wantText) || (wantText == "") != (len(out) == 0) {
			t.Errorf("%s, %q: got %d, %v, %q; want %d, %q", action, entry, code, err, out, wantCode, wantText)
		}
	}
	const refused = "rename that user"
	f("", "install", 0, "")
	f("metrics:x:998:998:belabox-metrics:/var/lib/belabox-metrics:/usr/sbin/nologin", "install", 0, "")
	f("metrics:x:998:998::/home/metrics:/bin/false", "install", 0, "")
	f("metrics:x:1000:1000:Me,,,:/home/metrics:/bin/bash", "install", 1, refused)
	f("metrics:x:998:998::/home/metrics:/bin/sh", "install", 1, refused)
	f("metrics:x:998:998::/home/metrics:", "install", 1, refused) // that is /bin/sh
	f("metrics:x:1000:1000::/home/metrics:/usr/sbin/nologin", "install", 1, refused)
	f("metrics:x:0:0::/root:/usr/sbin/nologin", "install", 1, refused)
	f("metrics:x:1000:1000:Me,,,:/home/metrics:/bin/bash", "upgrade", 0, "warning: ")
	f("metrics:x:998:998::/home/metrics:/usr/sbin/nologin", "upgrade", 0, "")
}
