package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"belabox-metrics/shared/store"
	"belabox-metrics/shared/testkit"
	"belabox-metrics/shipperd/internal/doctor"
)

func TestDoctor(t *testing.T) {
	t.Parallel()
	b := newBench(t, "")
	b.insert(0, 3)
	stdout, stderr := b.run(0, "doctor")
	wantText(t, stdout, "ok       connection", "warn     shipperd", "-> Start shipperd", "no check failed", "2 warn")
	if stderr != "" {
		t.Errorf("wrote %q to standard error", stderr)
	}
	b.vm.ThenRead(testkit.Answer(403, nil))
	stdout, _ = b.run(1, "doctor", "-probe")
	wantText(t, stdout, "FAIL     read-back", "reads are refused", "unknown  duplicates")
	b.vm.GoAway()
	stdout, _ = b.run(1, "doctor")
	wantText(t, stdout, "FAIL     connection", "connection refused", "1 FAIL")
	stdout, _ = b.run(1, "doctor", "-json")
	var got doctorReport
	if err := json.Unmarshal([]byte(stdout), &got); err != nil || got.Status != doctor.Fail || len(got.Checks) != 21 {
		t.Errorf("got %+v, %v", got, err)
	}
}

// TestCommands_NoSecrets: a server that hands the credentials back, in its errors
// and exports, does not get them printed.
func TestCommands_NoSecrets(t *testing.T) {
	t.Parallel()
	const token, header, parameter = "hunter2-token-\"x\"", "header-secret-1", "parameter-secret-2"
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(token), 0o600); err != nil {
		t.Fatal(err)
	}
	b := newBench(t, "")
	b.insert(0, 3)
	b.deliver(store.Verified)
	b.configure(b.vm.ImportURL()+"?route="+parameter, "  auth_token_file: "+file+"\n  headers: {X-Tenant: "+header+"}\n")
	echo := testkit.Answer(401, nil)
	echo.Body = "no: " + token + " and " + header + " and " + parameter
	b.vm.Otherwise(echo)
	for _, args := range []string{"doctor", "doctor -json", "audit", "audit -json"} {
		b.vm.ThenRead(echo, echo)
		stdout, stderr := b.run(1, strings.Fields(args)...)
		for _, secret := range []string{token, `hunter2-token-\"x\"`, "hunter2", header, parameter} {
			if strings.Contains(stdout+stderr, secret) {
				t.Errorf("%s shows %q:\n%s%s", args, secret, stdout, stderr)
			}
		}
		wantText(t, stdout+stderr, "401")
	}
}

func TestDoctor_Print(t *testing.T) {
	t.Parallel()
	checks := map[string][]doctor.Check{
		"well": {{Name: "clock", Status: doctor.OK, Detail: "agrees with the server's to the second"}},
		"ill": {
			{Name: "connection", Status: doctor.OK, Detail: "127.0.0.1:8428 answers within 1 ms"},
			{Name: "retention", Status: doctor.Unknown, Detail: "unknown: the server does not show its flag -retentionPeriod"},
			{Name: "disk space", Status: doctor.Warn, Detail: "20.0 MiB free", Fix: "free disk space"},
			{Name: "import", Status: doctor.Fail, Detail: "the server\nanswered\x1b[2J", Fix: "correct remote.url"},
		},
	}
	for name, list := range checks {
		var text, forPrograms bytes.Buffer
		r := doctorReport{Status: doctor.OK}
		for _, c := range list {
			r.add(c)
			printCheck(&text, c)
		}
		r.printEnd(&text)
		if err := printJSON(&forPrograms, r); err != nil {
			t.Fatal(err)
		}
		testkit.Golden(t, "doctor-"+name+".txt", text.Bytes())
		testkit.Golden(t, "doctor-"+name+".json", forPrograms.Bytes())
	}
}
