package testkit

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestVM_StopAndStartKeepsData(t *testing.T) {
	t.Parallel()
	vm := StartVM(t, VMConfig{})
	now := time.Now().UnixMilli()
	if err := vm.Import(fmt.Sprintf(`{"metric":{"__name__":"kept","d":"1"},"values":[1,2],"timestamps":[%d,%d]}`+"\n", now-1, now)); err != nil {
		t.Fatal(err)
	}
	first := vm.PID()
	if err := vm.Stop(); err != nil {
		t.Fatal(err)
	}
	if err := vm.Health(); err == nil {
		t.Error("a stopped server answers")
	}
	if err := vm.Start(); err != nil {
		t.Fatal(err)
	}
	if vm.PID() == first {
		t.Errorf("pid %d twice", first)
	}
	got, err := vm.Export(`{d="1"}`)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 1 || len(got[0].Values) != 2 || got[0].Timestamps[1] != now || got[0].Key() != `kept{d="1"}` {
		t.Errorf("after a restart the server has %+v, want both samples", got)
	}
}

func TestVM_KillLosesTheLastSeconds(t *testing.T) {
	t.Parallel()
	vm := StartVM(t, VMConfig{})
	if err := vm.Import(fmt.Sprintf(`{"metric":{"__name__":"lost"},"values":[1],"timestamps":[%d]}`, time.Now().UnixMilli())); err != nil {
		t.Fatal(err)
	}
	vm.Kill()
	if err := vm.Start(); err != nil {
		t.Fatal(err)
	}
	got, err := vm.Export(`lost`)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 0 {
		t.Errorf("after SIGKILL the server has %+v; the tests of a forgetful server lean on it losing this", got)
	}
}

func TestVM_Flags(t *testing.T) {
	t.Parallel()
	vm := StartVM(t, VMConfig{Flags: []string{"-search.maxQueryLen=20"}})
	if _, err := vm.Query(`sum(a_query_that_is_longer)`, time.Now()); err == nil || !strings.Contains(err.Error(), "too long") {
		t.Errorf("a query above the limit gives %v, want the server's words", err)
	}
	if got := failure(t, func(t testing.TB) { StartVM(t, VMConfig{Flags: []string{"-nonsense"}}) }); !strings.Contains(got, "-nonsense") {
		t.Errorf("with a wrong flag the message is %q, want the flag in it", got)
	}
}

func TestVM_AnotherServerHasThePort(t *testing.T) {
	t.Parallel()
	vm := StartVM(t, VMConfig{})
	other := &server{Client: vm.Client, t: t, program: vm.program, addr: vm.addr, mark: "its own", args: []string{"-storageDataPath=" + t.TempDir()}}
	if err := other.launch(); err == nil {
		t.Error("a server on a taken port counts as started")
	}
}

func TestVM_Missing(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	got := failure(t, func(t testing.TB) { StartVM(t, VMConfig{}) })
	if !strings.Contains(got, "scripts/test-deps.sh") {
		t.Errorf("without the program the message is %q, want it to say what to do", got)
	}
}
