//go:build !race

// What a browser shows takes minutes with the detector, which does not see the browser.

package page

import (
	"context"
	"database/sql"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp"

	"belabox-metrics/shared/store"
)

// look takes the pictures of a scene and checks what holds for all of them.
func look(t *testing.T, name, url string, ready string, views ...view) *tab {
	t.Helper()
	var b *tab
	for _, v := range views {
		if b != nil {
			b.close()
		}
		b = open(t, url, v)
		b.until(name, ready)
		b.unfold()
		b.until("the ledger", "document.querySelector('#ledger .total') !== null")
		if wide := eval[int](b, "document.documentElement.scrollWidth - document.documentElement.clientWidth"); wide > 0 {
			t.Errorf("%s, %s: the page is %d pixels wider than the screen", name, v.name, wide)
		}
		if white := eval[bool](b, "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).every((c) => c > 200)"); white == v.dark {
			t.Errorf("%s, %s: the ground is white %v", name, v.name, white)
		}
		// Text in the right place is not enough: each chart has lines, which are coloured.
		if blank := eval[int](b, blankCharts); blank > 0 {
			t.Errorf("%s, %s: %d charts are empty", name, v.name, blank)
		}
		b.shot(name + "-" + v.name)
		b.calm()
	}
	return b
}

// blankCharts counts the charts with hardly a coloured pixel.
const blankCharts = `[...document.querySelectorAll('.plot canvas')].filter((c) => {
	const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;
	let coloured = 0;
	for (let i = 0; i < d.length; i += 4) if (d[i + 3] > 0 && Math.max(d[i], d[i + 1], d[i + 2]) - Math.min(d[i], d[i + 1], d[i + 2]) > 60) coloured++;
	return coloured < 10;
}).length`

// says fails the test unless an element's text has each of the words.
func (b *tab) says(id string, words ...string) {
	b.t.Helper()
	text := b.text(id)
	for _, w := range words {
		if !strings.Contains(text, w) {
			b.t.Errorf("#%s: got %q, want it to say %q", id, text, w)
		}
	}
}

// choose clicks a range and waits until it is drawn.
func (b *tab) choose(name string) {
	b.t.Helper()
	b.do(chromedp.Evaluate[chromedp.Void](fmt.Sprintf("document.querySelector('[data-range=\"%s\"]').click()", name)))
	b.until(name, fmt.Sprintf("document.documentElement.dataset.loaded === '%s'", name))
}

// unfold opens the parts that are closed on a phone, and waits for their charts.
func (b *tab) unfold() {
	b.t.Helper()
	b.do(chromedp.Evaluate[chromedp.Void]("document.querySelectorAll('details.fold, #daemons details').forEach((d) => { d.open = true; })"))
	b.until("what was closed", "['more', 'delivery', 'storage'].every((p) => document.querySelector(`#${p}-charts > *`))")
}

const always = "true"

func TestPage_Healthy(t *testing.T) {
	t.Parallel()
	at := sceneNamed(t, "healthy").serve(t)
	// The legends show the newest values only while these are recent: they are read before the
	// pictures are taken, which takes minutes on a busy machine.
	b := open(t, at.url, desktop)
	b.until("the values in the legends", "[...document.querySelectorAll('#device-charts .legend b')].some((e) => /\\d/.test(e.textContent))")
	titles := eval[[]string](b, "[...document.querySelectorAll('.chart h3')].map((e) => e.textContent)")
	want := []string{
		"CPU", "Temperatures", "Network, sent", "Network, received", "Memory", "Load", "Disk space used", "Disks busy", "Disks, written", "Disks, read",
		"Pending rows", "Age of the oldest pending row", "Database and WAL",
	}
	if !slices.Equal(titles, want) {
		t.Errorf("charts: got %q, want %q", titles, want)
	}
	b.says("device-charts", "all", "core 7", "soc-thermal", "nvme Composite", "°C", "eth0", "wwan0", "Mbit/s")
	b.says("more-charts", "/\n33 %", "/data\n", "mmcblk0", "nvme0n1")
	b.says("glance", "CPU", "Memory", "Hottest", "Network", "Pending", "Last upload")
	// A device without such sources shows none.
	if n := eval[int](b, "document.querySelectorAll('#board li, .others').length"); n != 0 || b.text("boot") != "" {
		t.Errorf("got %d lines about the board", n)
	}
	for _, word := range []string{"GPU", "eMMC", "via "} {
		if strings.Contains(eval[string](b, "document.body.innerText"), word) {
			t.Errorf("the page says %q about a device that has none", word)
		}
	}
	b.calm()
	b.close()

	b = look(t, "healthy", at.url, always, phone, phone.inTheDark(), desktop.inTheDark(), desktop)
	for _, v := range []view{{name: "page-desktop", width: 1280, height: 1120}, {name: "page-phone", width: 390, height: 844, phone: true, dark: true}} {
		open(t, at.url, v).frame(v.name) // for docs/images
	}
	b.says("state", "OK")
	b.says("device", device)
	b.says("delivery", "Link today", "on wwan0", "Link this month", "forecast")
	b.says("outcome", "1,482,113", "1,481,004", "312", "none")
	b.says("storage", "Without a server", "days", "Written per day", "31 ms ahead")
	b.says("daemons", "killed, or power cut", "1 of the last 2", "1.2.0", "25 h")
	b.says("storage", "Database", "of 512 MiB", "WAL", "Disk free")
	b.says("ledger", "Ever stored", "1,481,004", "Unaccounted for\n0")

	// The ranges, on a file of a million rows; the last one over the whole of it.
	if rows := eval[int](b, "fetch('/api/status').then((r) => r.json()).then((s) => s.storage.rows)"); rows < healthyRows {
		t.Errorf("the file has %d rows, want %d", rows, healthyRows)
	}
	for _, r := range []string{"15m", "6h", "24h"} {
		b.choose(r)
		b.shot("healthy-" + r)
	}
	b.calm()
}

func TestPage_Degraded(t *testing.T) {
	t.Parallel()
	at := sceneNamed(t, "degraded").serve(t)
	b := look(t, "degraded", at.url, always, desktop, phone, desktop.inTheDark())
	b.says("state", "Degraded")
	b.says("reasons", "No upload for 4 min, limit 2 min: connection refused by metrics.example", "Last error", "Remedy", "shipperd doctor", "The clock is 7.2 s behind", "since")
}

func TestPage_CatchingUp(t *testing.T) {
	t.Parallel()
	s := sceneNamed(t, "catching-up")
	path := filepath.Join(t.TempDir(), "metrics.db")
	now := time.Now()
	s.fill(t, path, now)
	at := s.serveFile(t, path)
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	// What shipperd does: some seconds of samples at a time.
	done := make(chan struct{})
	stop := make(chan struct{})
	go func() {
		defer close(done)
		upTo := now.Add(-s.Unsent)
		for tick := time.NewTicker(300 * time.Millisecond); ; {
			select {
			case <-stop:
				tick.Stop()
				return
			case <-tick.C:
			}
			upTo = upTo.Add(3 * time.Second)
			if _, err := db.Exec("UPDATE metrics SET uploaded = 1 WHERE uploaded = 0 AND dedup_key < ?", int64(store.PackKey(upTo.UnixMilli(), 1))); err != nil {
				t.Error(err)
				return
			}
		}
	}()
	defer func() { close(stop); <-done }()
	b := look(t, "catching-up", at.url, "!document.getElementById('drain').hidden", desktop, phone)
	b.says("state", "Catching up")
	b.says("state-line", "Nothing to do", "Since")
	b.says("drain", "rows left", "rows per second", "left")
}

func TestPage_Empty(t *testing.T) {
	t.Parallel()
	at := sceneNamed(t, "empty").serve(t)
	b := look(t, "empty", at.url, always, desktop, phone)
	b.says("state-line", "No samples are stored yet")
	b.says("device-charts", "Nothing is stored for this time yet.")
	if n := eval[int](b, "document.querySelectorAll('.chart').length"); n != 0 {
		t.Errorf("got %d charts of nothing", n)
	}
}

func TestPage_DeadLetter(t *testing.T) {
	t.Parallel()
	at := sceneNamed(t, "dead-letter").serve(t)
	b := look(t, "dead-letter", at.url, always, desktop, phone)
	b.says("reasons", "Some samples could not be delivered", "1 of 5 collectors are failing: thermal")
	if shown := eval[string](b, "document.getElementById('reasons').innerText"); strings.Contains(shown, "deadletter list") {
		t.Errorf("a note has more than one line: %s", shown)
	}
	eval[bool](b, "document.querySelector('#reasons details').open = true")
	b.says("reasons", "belabox-shipperd deadletter list")
	b.says("outcome", "220", "bad request", "214", "never seen", "6", "size", "18")
	b.says("ledger", "Dead letters\n220", "Dropped\n18", "Unaccounted for\n0")
	b.says("collectors", "thermal", "temporarily unavailable")
}

// TestPage_HostileTags: whatever stands in the store is text.
func TestPage_HostileTags(t *testing.T) {
	t.Parallel()
	bad := `"><img src=x onerror="document.title='owned'"><script>document.title='owned'</script>` + strings.Repeat("long", 60)
	s := sceneNamed(t, "dead-letter")
	s.Age = 10 * time.Minute
	s.Tags = map[string]string{"interface": bad, "device": bad, "mountpoint": bad, "type": bad, "core": bad, "__proto__": bad, "constructor": bad}
	s.Rows = append(slices.Clone(s.Rows), stat("storage.metrics_dropped_total", `{"reason":"<img src=x onerror=1>"}`, 5),
		"INSERT INTO dead_letters (device_id, timestamp_ms, name, tags, value, value_type, reason, created_ms) VALUES ('<b>', 1, '<b>', '{}', 1, 0, '<script>document.title=1</script>', 1)")
	at := s.serve(t)
	b := look(t, "hostile", at.url, "document.querySelectorAll('.chart').length > 3", view{name: "small", width: 320, height: 640, phone: true}, desktop)
	b.says("outcome", "<script>", "<img src=x onerror=1>")
	if n := eval[int](b, "document.querySelectorAll('main img, main script, main b b').length"); n != 0 {
		t.Errorf("got %d elements made of tags", n)
	}
	if title := eval[string](b, "document.title"); strings.Contains(title, "owned") {
		t.Errorf("a tag was executed: the title is %q", title)
	}
	b.says("device-charts", "<img src=x")
	b.calm()
}

// TestPage_CursorAndLegend: the cursor shows the values of its time, and a line can
// be switched off.
func TestPage_CursorAndLegend(t *testing.T) {
	t.Parallel()
	b := open(t, sceneNamed(t, "degraded").serve(t).url, desktop)
	const values = "[...document.querySelectorAll('#device-charts .chart')[0].querySelectorAll('.legend b')].map((e) => e.textContent).join()"
	newest := eval[string](b, values)
	at := eval[[]float64](b, "(() => { const r = document.querySelector('.u-over').getBoundingClientRect(); return [r.left + r.width / 4, r.top + r.height / 2]; })()")
	b.do(chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, input.DispatchMouseEvent, input.DispatchMouseEventParams{Type: "mouseMoved", X: at[0], Y: at[1]})
		return err
	}))
	b.until("the values at the cursor", values+" !== "+fmt.Sprintf("%q", newest))
	// All charts show the same time.
	times := eval[[]string](b, "[...new Set([...document.querySelectorAll('.chart .at')].map((e) => e.textContent))]")
	if len(times) != 1 || times[0] == "" {
		t.Errorf("times at the cursor: got %q, want one", times)
	}
	b.do(chromedp.Evaluate[chromedp.Void]("document.querySelector('.legend button').click()"))
	b.until("the line is off", "document.querySelector('.legend button').getAttribute('aria-pressed') === 'false'")
	b.calm()
}

// arrive stores further samples, each in a point of its own of the range of 15 minutes.
func (s served) arrive(t *testing.T, n int, series *store.Series, value float64) {
	t.Helper()
	in, err := store.OpenInserter(t.Context(), store.Options{Path: s.page.cfg.Config.Storage.Path, Daemon: "collectord", Version: "1.2.0"}, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close(t.Context()) //nolint:errcheck // the test's own file
	next := time.Now().Truncate(5 * time.Second).Add(5 * time.Second)
	for i := range n {
		if _, err := in.Insert(t.Context(), next.Add(time.Duration(i)*5*time.Second), []store.Sample{{Series: series, Value: value}}); err != nil {
			t.Fatal(err)
		}
	}
}

// TestPage_Live: new samples arrive in the tiles and charts, and a daemon that stops
// is said to be silent.
func TestPage_Live(t *testing.T) {
	t.Parallel()
	s := sceneNamed(t, "degraded")
	s.Age = 5 * time.Minute
	at := s.serve(t)
	b := open(t, at.url, desktop)
	b.choose("15m")
	at.arrive(t, 1, store.NewSeries(device, "cpu.usage_percent", store.Number, store.Tag{Name: "core", Value: "all"}), 98.7)
	b.until("the new sample in its tile", "document.querySelector('#glance .value').textContent === '99 %'")
	b.until("the new sample in its chart", "document.querySelector('#device-charts .chart .legend b').textContent === '99 %'")
	b.calm()
	at.stop()
	b.until("the silence", "document.getElementById('state').textContent === 'No answer from the daemon'")
}

// TestPage_Large: on a machine with more series than one answer has, it says what is
// left out, and the other charts stay live.
func TestPage_Large(t *testing.T) {
	t.Parallel()
	s := sceneNamed(t, "degraded")
	s.Age, s.Cores = 3*time.Minute, 250
	at := s.serve(t)
	b := look(t, "large", at.url, always, desktop)
	b.says("device-charts", "and 51 more")
	b.choose("15m")
	at.arrive(t, 1, store.NewSeries(device, "load.average_1m", store.Number), 42.5)
	b.until("the new sample in its chart", "[...document.querySelectorAll('.legend b')].some((e) => e.textContent === '42.5')")
	b.calm()
}

// TestPage_AsksNothingWhenHidden: a page in the background costs the device
// nothing.
func TestPage_AsksNothingWhenHidden(t *testing.T) {
	t.Parallel()
	s := sceneNamed(t, "degraded")
	s.Age = 5 * time.Minute
	b := open(t, s.serve(t).url, phone)
	b.choose("15m") // asks most often
	// A tab without a screen is never covered by another: the page is told that it is.
	hide := func(hidden bool) {
		b.do(chromedp.Evaluate[chromedp.Void](fmt.Sprintf("Object.defineProperty(document, 'hidden', { configurable: true, value: %v }); document.dispatchEvent(new Event('visibilitychange'))", hidden)))
	}
	hide(true)
	const asked = "performance.getEntriesByType('resource').filter((e) => e.name.includes('/api/')).length"
	b.until("answers that are under way", "performance.now() - performance.getEntriesByType('resource').at(-1).responseEnd > 500")
	before := eval[int](b, asked)
	b.do(chromedp.Evaluate[chromedp.Void]("window.hiddenAt = performance.now()"))
	b.until("more than two periods", "performance.now() - window.hiddenAt > 11000")
	if after := eval[int](b, asked); after != before {
		t.Errorf("it asked %d times while nobody could see it", after-before)
	}
	hide(false)
	b.until("a question as soon as it is seen", asked+" > "+fmt.Sprint(before))
	b.calm()
}

// TestPage_LoadsAgain: a range of which a part did not arrive is asked for again.
func TestPage_LoadsAgain(t *testing.T) {
	t.Parallel()
	s := sceneNamed(t, "degraded")
	b := open(t, s.serve(t).url, desktop)
	b.do(chromedp.Evaluate[chromedp.Void](`
		const whole = window.fetch;
		let refused = 0;
		window.fetch = (url, how) => (String(url).includes('load.average') && refused++ < 1 ? Promise.reject(new Error('the line broke')) : whole(url, how));`))
	b.do(chromedp.Evaluate[chromedp.Void](`document.querySelector('[data-range="15m"]').click()`))
	b.until("the range, after a failure", "document.documentElement.dataset.loaded === '15m'")
	b.until("all charts", "document.querySelectorAll('.chart').length === 13")
}

// TestPage_Narrow: nothing is cut off on a small phone.
func TestPage_Narrow(t *testing.T) {
	t.Parallel()
	at := sceneNamed(t, "dead-letter").serve(t)
	look(t, "dead-letter", at.url, always, view{name: "small", width: 320, height: 640, phone: true}, view{name: "tablet", width: 800, height: 1100})
}

// TestPage_Board: what needs attention of the hardware and the services is in the banner.
func TestPage_Board(t *testing.T) {
	t.Parallel()
	bad := `<img src=x onerror="document.title='owned'">`
	s := sceneNamed(t, "board")
	s.Suffix = bad
	at := s.serve(t)
	b := look(t, "board", at.url, "document.querySelectorAll('#board li').length === 4", phone, desktop, view{name: "small", width: 320, height: 640, phone: true})
	b.says("state", "Warning")
	b.says("state-line", "the device needs attention")
	b.says("board", "Power supply too weak: ", " undervoltage event", "stronger power supply", "Slowed down: throttled 1 time today", "Flash memory worn: mmcblk0 has used at least 90 % of its life", "Service down: srtla"+bad+".service")
	b.says("glance", "GPU", "NPU", "via wwan0")
	b.says("device-charts", "GPU, NPU and video", "gpu", "npu", "rkvenc-core")
	b.says("storage", "eMMC life", "90 to 100 % used", "mmcblk0, spare blocks more than 80 % used")
	b.says("boot", "watchdog")
	if n := eval[int](b, "document.querySelectorAll('main img').length"); n != 0 || strings.Contains(eval[string](b, "document.title"), "owned") {
		t.Errorf("the name of a service became %d elements", n)
	}
	b.calm()
}

// positions are those of the charts and lists within their part of the page.
const positions = `JSON.stringify([...document.querySelectorAll('.charts')].filter((p) => !p.closest('details:not([open])')).map((p) => [p.offsetHeight, ...[...p.children].map((e) => e.getBoundingClientRect().top - p.getBoundingClientRect().top)]))`

// TestPage_Many: with many interfaces and disks the page stays short, asks only for what it shows,
// and nothing moves while it is updated. The rest can be opened with the keyboard.
func TestPage_Many(t *testing.T) {
	t.Parallel()
	s := sceneNamed(t, "board")
	s.Nets, s.Disks, s.Suffix = 32, 20, `"><img src=x onerror="document.title='owned'">`
	at := s.serve(t)
	for v, limit := range map[view]int{phone: 4300, {name: "small", width: 320, height: 640, phone: true}: 4600, desktop: 4600} {
		b := open(t, at.url, v)
		b.until("the board", "document.querySelectorAll('#board li').length === 4")
		b.shot("many-" + v.name)
		if height := eval[int](b, "document.documentElement.scrollHeight"); height > limit {
			t.Errorf("%s: the page is %d pixels long, want at most %d", v.name, height, limit)
		}
		if wide := eval[int](b, "document.documentElement.scrollWidth - document.documentElement.clientWidth"); wide > 0 {
			t.Errorf("%s: the page is %d pixels wider than the screen", v.name, wide)
		}
		b.close()
	}
	b := open(t, at.url, phone)
	b.until("the list", "document.querySelector('#device-charts .others summary')?.textContent === '27 more interfaces'")
	const asked = "performance.getEntriesByType('resource').map((e) => e.name).filter((n) => n.includes('/api/'))"
	if urls := eval[[]string](b, asked); slices.ContainsFunc(urls, func(u string) bool { return strings.Contains(u, "disk.") || strings.Contains(u, "ledger") }) {
		t.Errorf("it asked for what is closed: %q", urls)
	}
	b.choose("15m")
	before := eval[string](b, positions)
	at.arrive(t, 1, store.NewSeries(device, "cpu.usage_percent", store.Number, store.Tag{Name: "core", Value: "all"}), 9.9)
	b.until("the new sample in its chart", "document.querySelector('#device-charts .chart .legend b').textContent === '9.9 %'")
	if after := eval[string](b, positions); after != before {
		t.Errorf("an update moved the charts:\n%s\n%s", before, after)
	}
	// A frame at a time while another range is loaded.
	b.do(chromedp.Evaluate[chromedp.Void]("(() => { const seen = (window.seen = new Set()); const look = () => { seen.add(" + positions + "); requestAnimationFrame(look); }; look(); })()"))
	b.choose("1h")
	if seen := eval[[]string](b, "[...window.seen]"); len(seen) != 1 {
		t.Errorf("another range moved the charts: %q", seen)
	}

	const legend = "[...document.querySelectorAll('#device-charts .chart:has(+ .others) .legend .label')].map((e) => e.textContent)"
	first := eval[[]string](b, legend)
	if len(first) != 5 || !slices.Contains(first, "eth0") {
		t.Errorf("got %q, want the five busiest interfaces", first)
	}
	b.do(chromedp.Evaluate[chromedp.Void]("document.querySelector('#device-charts .others summary').focus()"))
	b.do(chromedp.KeyEvent("\r"))
	b.until("the list is open", "document.querySelector('#device-charts .others').open")
	b.do(chromedp.KeyEvent("\t"), chromedp.KeyEvent("\r"))
	b.until("a sixth interface with its values", legend+".length === 6 && /\\d/.test(document.querySelector('#device-charts .chart:has(+ .others) .legend button:nth-child(6) b').textContent)")
	if now := eval[[]string](b, legend); !slices.Equal(now[:5], first) {
		t.Errorf("got %q, want the new one behind %q", now, first)
	}
	b.until("the next points", "performance.getEntriesByType('resource').at(-1).name.includes('since=') && performance.getEntriesByType('resource').at(-1).name.match(/id=/g)?.length === 12")
	if focus := eval[string](b, "document.activeElement.getAttribute('aria-pressed')"); focus != "true" {
		t.Errorf("the focus is lost, or the button is pressed %q", focus)
	}
	b.choose("6h")
	if now := eval[[]string](b, legend); len(now) != 6 {
		t.Errorf("another range: got %q, want the opened one still", now)
	}
	b.do(chromedp.KeyEvent("\r"))
	b.until("five again", legend+".length === 5")
	if n := eval[int](b, "document.querySelectorAll('main img').length"); n != 0 || strings.Contains(eval[string](b, "document.title"), "owned") {
		t.Errorf("names became %d elements", n)
	}
	b.calm()
}

// TestPage_Crowded: with 64 cores, 40 sensors and 50 file systems the page stays short, no legend
// has to be scrolled, and what is hottest and fullest is seen at once.
func TestPage_Crowded(t *testing.T) {
	t.Parallel()
	s := sceneNamed(t, "board")
	s.Cores, s.Zones, s.Mounts, s.Nets, s.Disks = 64, 40, 50, 32, 20
	at := s.serve(t)
	for v, limit := range map[view]int{phone: 4200, desktop: 4500} {
		b := open(t, at.url, v)
		b.until("the board", "document.querySelectorAll('#board li').length === 4")
		b.until("all tiles", "document.getElementById('glance').innerText.includes('Fullest disk')")
		b.says("glance", "Hottest", "modem-thermal", "99 %", "/mnt/disk50")
		b.says("device-charts", "all", "59 more cores", "modem-thermal", "36 more sensors")
		b.shot("crowded-" + v.name)
		height := eval[int](b, "document.documentElement.scrollHeight")
		wide := eval[int](b, "document.documentElement.scrollWidth - document.documentElement.clientWidth")
		sizes := eval[[]int](b, "performance.getEntriesByType('resource').filter((e) => e.name.includes('/api/series')).map((e) => e.encodedBodySize)")
		t.Logf("%s: %d pixels, answers of %d bytes", v.name, height, sizes)
		if height > limit || wide > 0 || slices.Max(sizes) > 100_000 {
			t.Errorf("%s: want at most %d pixels and answers of 100 kB; %d pixels too wide", v.name, limit, wide)
		}
		if hidden := eval[int](b, "[...document.querySelectorAll('.legend')].filter((e) => e.clientHeight > 0 && e.scrollHeight > e.clientHeight + 1).length"); hidden > 0 {
			t.Errorf("%s: %d legends have to be scrolled", v.name, hidden)
		}
		b.calm()
		b.close()
	}
	b := open(t, at.url, phone)
	b.unfold()
	for title, want := range map[string]struct{ first, more string }{
		"CPU": {"all", "core 1"}, "Temperatures": {"modem-thermal", "ddr-thermal thermal_zone38"}, "Disk space used": {"/mnt/disk50", "/mnt/disk7"},
	} {
		chart := fmt.Sprintf("[...document.querySelectorAll('.chart')].find((e) => e.querySelector('h3').textContent === %q)", title)
		legend := "[..." + chart + ".querySelectorAll(':scope > .legend .label')].map((e) => e.textContent)"
		before := eval[[]string](b, legend)
		b.do(chromedp.Evaluate[chromedp.Void](fmt.Sprintf("[...%s.querySelectorAll('.others button')].find((e) => e.firstChild.textContent === %q).click()", chart, want.more)))
		b.until(want.more, fmt.Sprintf("%s.includes(%q)", legend, want.more))
		if after := eval[[]string](b, legend); len(after) != len(before)+1 || after[0] != want.first {
			t.Errorf("%s: got %q, want %q first and one more than %q", title, after, want.first, before)
		}
	}
	b.calm()
}

// TestPage_Replugged: a modem that comes while the page is open gets its line.
func TestPage_Replugged(t *testing.T) {
	t.Parallel()
	s := sceneNamed(t, "degraded")
	s.Age = 5 * time.Minute
	at := s.serve(t)
	b := open(t, at.url, desktop)
	b.choose("15m")
	at.arrive(t, 4, store.NewSeries(device, "network.transmit_bytes_per_second", store.Number, store.Tag{Name: "interface", Value: "usb0"}), 125000)
	b.do(chromedp.Evaluate[chromedp.Void]("(() => { const real = Date.now; let asked = 0; Date.now = () => real() + 61000 * ++asked; })()")) // minutes pass
	b.until("its line", "[...document.querySelectorAll('#device-charts .legend button')].some((e) => e.textContent === 'usb01 Mbit/s')")
	b.calm()
}
