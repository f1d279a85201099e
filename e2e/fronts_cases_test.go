package e2e

import (
	"database/sql"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"belabox-metrics/shared/testkit"
	"belabox-metrics/shared/testkit/front"
)

// frontCases are the troubles; those of one number are of one kind.
func frontCases() (cases []frontCase) {
	add := func(name string, run func(d *fronted)) {
		cases = append(cases, frontCase{name: name, run: run})
	}
	for name, mode := range portals() {
		add("01_portal_"+name, func(d *fronted) { d.startsBehindPortal(mode) })
	}
	cases = append(cases, frontCase{
		name: "01_portal_unverified", remote: "  enabled: false", // at-least-once is a choice, but nobody chose the portal
		run: func(d *fronted) { d.startsBehindPortal(portals()["302"]) },
	})
	add("02_portal_later", func(d *fronted) {
		d.loses = true
		d.start()
		d.watch(12*time.Second, nil)
		d.during(portals()["302"], long(40*time.Second, 12*time.Minute))
		d.checkClock()
		d.finish()
	})
	for _, q := range []struct {
		name            string
		delay, overtake time.Duration
		until           time.Duration
	}{
		{"03_queue_slow", long(40*time.Second, 2*time.Minute), 0, 0},
		{"03_queue_shut", 0, 0, long(45*time.Second, 10*time.Minute)},
		{"03_queue_overtaking", 0, 5 * time.Second, long(45*time.Second, 10*time.Minute)},
	} {
		add(q.name, func(d *fronted) {
			queue := front.NewQueue(d.t)
			queue.Delay, queue.Overtake, queue.Until = q.delay, q.overtake, time.Now().Add(q.until)
			d.setMode(queue.Mode())
			d.start()
			d.watch(max(q.delay, q.until)+5*time.Second, nil)
			d.end(queue.Mode()) // a queue that is left out would be overtaken for long
			d.judge(d.compare(d.vm.Client))
		})
	}
	add("03_once_behind_a_queue", func(d *fronted) {
		queue := front.NewQueue(d.t)
		queue.Until = time.Now().Add(100 * time.Second)
		d.setMode(queue.Mode())
		d.collectord = d.rig.start(d.bins.Collectord)
		d.collectord.WaitLine(testkit.WaitLimit, "collectord started")
		time.Sleep(10 * time.Second)
		d.stopDaemon(d.collectord)
		code, text := d.command("-once")
		if time.Now().After(queue.Until) {
			d.t.Error("shipperd -once took until the queue was open")
		}
		if code != 1 || !regexp.MustCompile(`[1-9]\d* accepted but not proven: the server does not show what was sent`).MatchString(text) {
			d.t.Errorf("shipperd -once: exit code %d, want 1 and how much does not show yet:\n%s", code, tail(text))
		}
		testkit.Eventually(d.t, drainLimit(), "the queue to deliver", func() bool { return time.Now().After(queue.Until) && queue.Waiting() == 0 })
		d.deliver(drainLimit())
		d.judge(d.compare(d.vm.Client))
	})
	for _, h := range []struct {
		name   string
		claims bool
	}{{"04_half_frozen", false}, {"04_half_frozen_claims", true}} {
		add(h.name, func(d *fronted) {
			d.start()
			d.watch(5*time.Second, nil)
			half := front.NewHalf(d.t)
			half.Until, half.Late, half.Claims = time.Now().Add(long(25*time.Second, 70*time.Second)), 12*time.Second, h.claims
			d.during(half.Mode(), time.Until(half.Until)+half.Late+3*time.Second)
			d.finish()
		})
	}
	add("05_renamed", func(d *fronted) {
		d.loses = true
		other := "renamed-" + d.device
		d.setMode(front.Rename("device_id", other))
		d.start()
		d.watch(long(45*time.Second, 10*time.Second), nil)
		d.awaitConditionIfLong("not_visible")
		// All cases share a server and have the same ticks, so the other id cannot always be named.
		if code, text := d.command("doctor"); code != 1 || !strings.Contains(text, "FAIL     last chunk") || !strings.Contains(text, "label") {
			d.t.Errorf("doctor: exit code %d, want 1 and the label as a cause:\n%s", code, text)
		}
		d.finish()
		d.onceEach(other)
	})
	add("05_other_tenant", func(d *fronted) {
		d.setMode(front.ReadElsewhere())
		d.start()
		d.watch(long(45*time.Second, 10*time.Second), nil)
		d.awaitConditionIfLong("not_visible")
		if code, text := d.command("doctor"); code != 1 || !strings.Contains(text, "FAIL     last chunk") || !strings.Contains(text, "tenant") {
			d.t.Errorf("doctor: exit code %d, want 1 and the tenant as a cause:\n%s", code, text)
		}
		d.finish()
	})
	add("06_no_route_for_reads", func(d *fronted) {
		d.setMode(noReads())
		d.start()
		d.awaitCondition(2*time.Minute, "reads_refused")
		if n := d.ledger().verified; n > 0 {
			d.t.Errorf("%d samples count as delivered, and were not read back", n)
		}
		d.finish()
	})
	if *frontsLong {
		add("06_small_file", (*fronted).fillsItsFile)
	}
	for _, idle := range []struct {
		name  string
		after time.Duration
	}{{"07_drops_a_metric", 0}, {"07_closes_idle_and_drops_a_metric", 500 * time.Millisecond}} {
		add(idle.name, func(d *fronted) {
			d.loses = true
			d.front.CloseIdle(idle.after)
			var dropped atomic.Int64
			d.setMode(front.Drop("load_average_1m", &dropped))
			d.start()
			d.watch(60*time.Second, nil)
			d.awaitConditionIfLong("not_kept")
			n, rows := int(dropped.Load()), d.count("SELECT count(*) FROM metric_rows WHERE name = 'load.average_1m'")
			if n == 0 || n > rows {
				d.t.Errorf("%d samples of the metric that the server drops were sent, and there are %d: want each once", n, rows)
			}
			d.front.CloseIdle(0)
			d.finish()
		})
	}
	add("08_http10", func(d *fronted) {
		d.loses = true
		d.setMode(front.HTTP10())
		d.start()
		d.watch(5*time.Second, nil)
		d.during(front.Chain(front.HTTP10(), front.LoseRequests(3)), 8*time.Second)
		d.during(front.Chain(front.HTTP10(), front.LoseReplies(3)), 8*time.Second)
		d.end(front.HTTP10()) // to the end
		d.judge(d.compare(d.vm.Client))
	})
	add("08_http10_cut", func(d *fronted) {
		d.loses = true
		d.setMode(front.Pass())
		d.start()
		d.watch(5*time.Second, nil)
		d.during(front.Chain(front.HTTP10(), front.CutExports(), front.LoseRequests(3)), 40*time.Second)
		d.end(front.HTTP10())
		d.judge(d.compare(d.vm.Client))
	})
	throttled := front.Answer{Status: http.StatusTooManyRequests, RetryAfter: "12"}
	cases = append(cases, frontCase{name: "09_retry_after", remote: "retry:\n  max_backoff: 1s", run: func(d *fronted) {
		d.setMode(front.Pass())
		d.start()
		d.watch(10*time.Second, nil)
		d.during(front.Refuse(throttled), 36*time.Second)
		// At 0, 12, 24 and 36 s, and one that was under way.
		for _, kinds := range [][]front.Kind{{front.Import}, {front.Query, front.Export}} {
			if n := d.tally.Count(kinds...); n > 5 {
				d.t.Errorf("%d requests of the kinds %v in %v, want one every 12 s", n, kinds, d.tally.Lasted())
			}
		}
		d.finish()
	}})
	add("10_reads_time_out", func(d *fronted) {
		d.setMode(front.Pass())
		d.start()
		d.watch(10*time.Second, nil)
		const body = `{"status":"error","errorType":"422","error":"cannot execute query: timeout exceeded"}`
		d.during(front.Refuse(front.Answer{
			Status: http.StatusUnprocessableEntity, Body: body, Type: "application/json", Hostname: "vmselect",
		}, front.Query, front.Export), 48*time.Second)
		first, second := d.tally.Between(0, 24*time.Second, front.Query, front.Export), d.tally.Between(24*time.Second, time.Hour, front.Query, front.Export)
		if first+second > 20 || second > first+1 {
			d.t.Errorf("%d reads in the first 24 s, %d in the next: want fewer and fewer", first, second)
		}
		d.finish()
	})
	cases = append(cases, frontCase{name: "repeated_imports", flags: []string{"-dedup.minScrapeInterval=1ms"}, run: func(d *fronted) {
		d.setMode(front.Repeat())
		d.start()
		d.watch(15*time.Second, nil)
		d.finish()
	}})
	for name, kinds := range map[string][]front.Kind{
		"import": {front.Import}, "reads": {front.Query, front.Export}, "export": {front.Export}, "clock": {front.Other}, "all": nil,
	} {
		cases = append(cases, frontCase{name: "23_switch_protocols_" + name, clock: "/health", run: func(d *fronted) {
			d.loses = true
			mode := front.SwitchProtocols(kinds...)
			if slices.Equal(kinds, []front.Kind{front.Export}) {
				mode = front.Chain(mode, front.Refuse(front.Answer{Status: http.StatusNotFound}, front.Query)) // else nobody asks for exports
			}
			d.setMode(front.Pass())
			d.start()
			d.watch(5*time.Second, nil)
			d.during(mode, 45*time.Second)
			d.stopShipperd()
			d.startShipperd()
			d.finish()
		}})
	}
	add("24_second_answer", func(d *fronted) {
		d.setMode(front.SecondAnswer())
		d.start()
		d.watch(35*time.Second, nil)
		d.finish()
	})
	add("25_long_number", func(d *fronted) {
		d.setMode(front.LongDetails(1_000_000))
		d.start()
		d.watch(35*time.Second, nil)
		d.checkPages()
		d.finish()
	})
	add("26_token_cut", func(d *fronted) {
		d.loses = true
		d.setMode(front.Pass())
		d.start()
		d.watch(5*time.Second, nil)
		for _, part := range []struct {
			mode  front.Mode
			lasts time.Duration
		}{
			{front.Leak(http.StatusOK, front.Query, front.Export), 35 * time.Second},
			{front.Leak(http.StatusInternalServerError, front.Query, front.Export), 10 * time.Second},
			{front.Leak(http.StatusInternalServerError, front.Import), 10 * time.Second},
		} {
			d.during(part.mode, part.lasts)
			d.checkPages()
		}
		d.finish()
	})
	add("27_flood", func(d *fronted) {
		d.setMode(front.Pass())
		d.start()
		d.watch(10*time.Second, nil)
		before := d.cpu()
		d.during(front.Chain(front.Refuse(front.Answer{Status: http.StatusNotFound}, front.Query), front.FloodExports(400_000)), 45*time.Second)
		used := d.cpu() - before
		d.t.Logf("shipperd used %.1f s of CPU in %.0f s, for %d exports", used.Seconds(), d.tally.Lasted().Seconds(), d.tally.Count(front.Export))
		if used > 5*time.Second {
			d.t.Errorf("shipperd used %v of CPU in %v", used, d.tally.Lasted())
		}
		if d.tally.Count(front.Export) == 0 {
			d.t.Error("nobody asked for an export")
		}
		if !strings.Contains(d.shipperd.Stderr(), "series that were not queried") {
			d.t.Error("the log does not name the series that were not queried")
		}
		d.finish()
	})
	return cases
}

// startsBehindPortal is a life that begins in a network with a captive portal.
func (d *fronted) startsBehindPortal(portal front.Mode) {
	d.t.Helper()
	d.loses = true
	d.setMode(portal)
	d.start()
	d.watch(long(40*time.Second, 15*time.Minute), nil)
	d.checkClock()
	if n := d.ledger().verified; n > 0 {
		d.t.Errorf("%d samples count as delivered, and nobody has them", n)
	}
	d.finish()
}

// fillsItsFile lets a device that nobody reads for reach its size budget: what the
// server has taken makes room for what was never sent. Some hundred interfaces fill
// the smallest file within minutes.
func (d *fronted) fillsItsFile() {
	d.t.Helper()
	procfs := d.t.TempDir()
	var dev strings.Builder
	dev.WriteString("Inter-|   Receive                                                |  Transmit\n" +
		" face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n")
	for i := range 600 {
		fmt.Fprintf(&dev, "eth%d: %d 1 0 0 0 0 0 0 %d 1 0 0 0 0 0 0\n", i, i, i)
	}
	if err := errors.Join(os.MkdirAll(filepath.Join(procfs, "1", "net"), 0o755),
		os.WriteFile(filepath.Join(procfs, "1", "net", "dev"), []byte(dev.String()), 0o644)); err != nil {
		d.t.Fatal(err)
	}
	d.rig.set("collection", "procfs_path: "+procfs)
	d.rig.set("network", "max_interfaces: 4096")
	d.rig.set("storage", "max_size_mb: 16\nwal_checkpoint_size_mb: 8")
	d.setMode(noReads())
	d.start()
	d.watch(10*time.Minute, func() error {
		if d.ledger().dropped == 0 {
			return errors.New("the file is not full yet")
		}
		return nil
	})
	d.watch(30*time.Second, nil)
	d.query("SELECT account, samples FROM ledger WHERE account LIKE 'dropped:%'", func(rows *sql.Rows) error {
		var account string
		var n int
		if err := rows.Scan(&account, &n); err != nil {
			return err
		}
		d.t.Logf("%s: %d samples", account, n)
		if account != "dropped:unproven" && n > 0 {
			d.t.Errorf("%d samples are %s, want only those that the server has taken to go", n, account)
		}
		return nil
	})
	d.end(front.Pass())
	if found := d.compare(d.vm.Client); found.rows == 0 || found.missing+found.doubled+found.wrong > 0 {
		d.t.Errorf("file and server differ: %v\n%s", &found, found.few())
	}
}

// drainLimit bounds the time in which everything must be proven once a trouble has
// ended.
func drainLimit() time.Duration { return long(5*time.Minute, 15*time.Minute) }

// long is how long a trouble lasts: shortened, or as it was seen.
func long(short, seen time.Duration) time.Duration {
	if *frontsLong {
		return seen
	}
	return short
}

// noReads is a vmauth without a route for reads.
func noReads() front.Mode {
	return front.Refuse(front.Answer{Status: http.StatusBadRequest, Hostname: "vmauth", Body: "missing route"}, front.Query, front.Export)
}

// portals are captive portals by what they answer to GET.
func portals() map[string]front.Mode {
	const behind = 100 * 24 * time.Hour
	taken := front.Answer{Status: http.StatusOK, Behind: behind}
	login := front.Answer{Status: http.StatusOK, Body: front.LoginPage, Type: "text/html", Behind: behind}
	away := front.Answer{Status: http.StatusFound, Location: "http://portal.example/login", Behind: behind}
	all := map[string]front.Mode{
		"302": front.Portal(taken, away), "page": front.Portal(login, login), "page_for_reads": front.Portal(taken, login),
		"302_for_all": front.Portal(away, away), "empty": front.Portal(taken, taken),
	}
	for _, status := range []int{http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound} {
		all[fmt.Sprint(status)] = front.Portal(taken, front.Answer{Status: status, Body: front.LoginPage, Type: "text/html", Behind: behind})
	}
	return all
}

// cpu is what shipperd has used so far.
func (d *fronted) cpu() time.Duration {
	d.t.Helper()
	used, err := testkit.ReadCPUTime(d.shipperd.PID())
	if err != nil {
		d.t.Fatal(err)
	}
	return used
}

// onceEach checks that the server has no sample of a device twice.
func (d *fronted) onceEach(device string) {
	d.t.Helper()
	found, err := d.vm.Export(fmt.Sprintf("{device_id=%q}", device))
	if err != nil {
		d.t.Fatal(err)
	}
	all, twice := 0, 0
	for _, s := range found {
		for i, ts := range s.Timestamps {
			if all++; i > 0 && s.Timestamps[i-1] == ts {
				twice++
			}
		}
	}
	d.t.Logf("%d samples under %s, %d of them further copies", all, device, twice)
	if all == 0 || twice > 0 {
		d.t.Errorf("%d samples under %s, %d of them further copies", all, device, twice)
	}
}
