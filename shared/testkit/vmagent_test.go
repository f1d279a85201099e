package testkit

import (
	"fmt"
	"testing"
	"time"
)

func TestVMAgent_KeepsAndDelivers(t *testing.T) {
	t.Parallel()
	vm := StartVM(t, VMConfig{})
	vm.Kill()
	agent := StartVMAgent(t, VMAgentConfig{Remote: vm.URL()})
	ts := time.Now().UnixMilli()
	if err := agent.Import(fmt.Sprintf(`{"metric":{"__name__":"kept"},"values":[1,2],"timestamps":[%d,%d]}`+"\n", ts-1, ts)); err != nil {
		t.Fatal(err)
	}
	queued := func() int64 {
		bytes, blocks, err := agent.Queued()
		if err != nil {
			t.Fatal(err)
		}
		return bytes + blocks
	}
	Eventually(t, WaitLimit, "the samples in a block", func() bool { return queued() > 0 })
	if err := agent.Stop(); err != nil {
		t.Fatal(err)
	}
	if err := vm.Start(); err != nil {
		t.Fatal(err)
	}
	if err := agent.Start(); err != nil {
		t.Fatal(err)
	}
	Eventually(t, WaitLimit, "both samples at the server", func() error {
		if err := vm.ForceFlush(); err != nil {
			return err
		}
		got, err := vm.Export(`kept`)
		if err == nil && (len(got) != 1 || len(got[0].Values) != 2) {
			err = fmt.Errorf("it has %+v", got)
		}
		return err
	})
	Eventually(t, WaitLimit, "nothing left in the queue", func() bool { return queued() == 0 })
}

func TestVM_Metrics(t *testing.T) {
	t.Parallel()
	vm := StartVM(t, VMConfig{})
	for range 3 {
		if _, err := vm.Export(`nothing`); err != nil {
			t.Fatal(err)
		}
	}
	page, err := vm.Metrics()
	if err != nil {
		t.Fatal(err)
	}
	if got, err := page.Sum("vm_http_requests_total{", `path="/api/v1/export"`); err != nil || got != 3 {
		t.Errorf("%d exports, %v, want 3", got, err)
	}
}

func TestMetrics_Sum(t *testing.T) {
	t.Parallel()
	page := Metrics("a{x=\"1\"} 2\na{x=\"2\"} 3.0\nab{} 100\nb 7\nc{} x\n")
	if got, err := page.Sum("a{", ""); got != 5 || err != nil {
		t.Errorf("a: %d, %v, want 5", got, err)
	}
	if got, err := page.Sum("a{", `x="2"`); got != 3 || err != nil {
		t.Errorf("a of x=2: %d, %v, want 3", got, err)
	}
	if _, err := page.Sum("d{", ""); err == nil {
		t.Error("no error for a metric that is not there")
	}
	if _, err := page.Sum("c{", ""); err == nil {
		t.Error("no error for what is no number")
	}
}
