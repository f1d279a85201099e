package sample

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func serviceKey(metric, service string) string {
	return fmt.Sprintf("services.%s{\"service\":%q}", metric, service)
}

func wantServices(t *testing.T, r result, want map[string]any) {
	t.Helper()
	r.wantFaults(t, 0)
	for key, value := range want {
		metric, service, _ := strings.Cut(key, " ")
		got, ok := r.values[serviceKey(metric, service)]
		if value == nil && ok || value != nil && (!ok || fmt.Sprint(got) != fmt.Sprint(value)) {
			t.Errorf("%s: got %v (%v), want %v", key, got, ok, value)
		}
	}
}

func TestServices(t *testing.T) {
	t.Parallel()
	m := newMachine(t, "rk3588")
	c := must(NewServices(m.fs(), testDevice, []string{"belaUI", "srtla*", "none.service", "belacoder*", "sshx"}))
	wantServices(t, m.tick(c), map[string]any{
		"up belaUI.service": 1, "restarts_total belaUI.service": 0, "cpu_seconds_total belaUI.service": 5123.456789, "memory_bytes belaUI.service": 73400320.0,
		"up srtla_send.service": 1, "oom_kills_total srtla_send.service": 1,
		"up srtla_rec.service": 0, "start_time_seconds srtla_rec.service": nil,
		"up none.service": 0, "memory_bytes none.service": nil,
		"up sshx.service": 0, "up ssh.service": nil,
		"up user@1000.service/belacoder.service": 1, "up belacoder.service": nil,
	})
}

// TestServices_StopAndStart: a unit that stops is down in the same tick, and one that starts is up
// in the next; a restart between two ticks counts.
func TestServices_StopAndStart(t *testing.T) {
	t.Parallel()
	m := newMachine(t, "rk3588")
	c := must(NewServices(m.fs(), testDevice, []string{"belaUI.service", "srtla*", "new.service"}))
	all := c.(*services)
	m.tick(c)
	const dir = "sys/fs/cgroup/system.slice/"
	// gone does to the open files of a unit what the kernel does when its group is removed.
	gone := func(label string) { all.byLabel[label].group.Close() }
	m.remove(dir + "belaUI.service")
	m.remove(dir + "srtla_send.service")
	gone("belaUI.service")
	gone("srtla_send.service")
	wantServices(t, m.tick(c), map[string]any{
		"up belaUI.service": 0, "restarts_total belaUI.service": 0, "memory_bytes belaUI.service": nil, "start_time_seconds belaUI.service": nil,
		"up srtla_send.service": 0,
	})
	m.lay("rk3588")
	m.write(dir+"new.service/cgroup.events", "populated 1\n")
	wantServices(t, m.tick(c), map[string]any{
		"up belaUI.service": 1, "restarts_total belaUI.service": 1, "up new.service": 1, "restarts_total new.service": 0, "memory_bytes new.service": nil,
	})
	gone("belaUI.service") // and is there again at once
	all.byLabel["belaUI.service"].group = nil
	wantServices(t, m.tick(c), map[string]any{"up belaUI.service": 1, "restarts_total belaUI.service": 2})

	// What only a pattern matches is forgotten an hour after it went, a name never.
	m.remove("sys/fs/cgroup/system.slice")
	m.write("sys/fs/cgroup/system.slice/other.service/cgroup.events", "populated 1\n")
	for _, s := range all.list {
		if s.group != nil {
			s.group.Close()
		}
	}
	m.at = m.at.Add(relistInterval)
	wantServices(t, m.tick(c), map[string]any{"up srtla_send.service": 0, "up belaUI.service": 0})
	m.at = m.at.Add(serviceMemory + time.Minute)
	wantServices(t, m.tick(c), map[string]any{"up srtla_send.service": nil, "up belaUI.service": 0, "up other.service": nil})
}

func TestServices_TooMany(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.write("sys/fs/cgroup/cgroup.controllers", "cpu\n")
	for i := range maxServices + 5 {
		m.write(fmt.Sprintf("sys/fs/cgroup/system.slice/a.slice/x%03d.service/cgroup.events", i), "populated 1\n")
	}
	r := m.tick(must(NewServices(m.fs(), testDevice, []string{"x*"})))
	r.wantFaults(t, 1)
	if n := len(r.labelled("service")); n != maxServices {
		t.Errorf("%d services, want %d", n, maxServices)
	}
}

func TestServices_Version1(t *testing.T) {
	t.Parallel()
	m := newMachine(t, "cgroup-v1")
	m.write("sys/fs/cgroup/systemd/system.slice/srtla_send.service/cgroup.procs", "")
	c := must(NewServices(m.fs(), testDevice, []string{"belaUI.service", "srtla*"}))
	wantServices(t, m.tick(c), map[string]any{
		"up belaUI.service": 1, "cpu_seconds_total belaUI.service": 5123.456789012, "memory_bytes belaUI.service": 73400320.0, "oom_kills_total belaUI.service": 2,
		"up srtla_send.service": 0,
	})
	m.write("sys/fs/cgroup/systemd/system.slice/srtla_send.service/sub/cgroup.procs", "77\n")
	wantServices(t, m.tick(c), map[string]any{"up srtla_send.service": 1})
}
