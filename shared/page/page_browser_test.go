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

func sceneNamed(t *testing.T, name string) scene {
	t.Helper()
	i := slices.IndexFunc(scenes, func(s scene) bool { return s.Name == name })
	if i < 0 {
		t.Fatalf("no scene %s", name)
	}
	return scenes[i]
}

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
		"CPU", "Memory", "Temperatures", "Load", "Network eth0", "Network wwan0", "Disk mmcblk0", "Disk nvme0n1", "Disks busy", "Disk space used",
		"Pending rows", "Age of the oldest pending row", "Database and WAL",
	}
	if !slices.Equal(titles, want) {
		t.Errorf("charts: got %q, want %q", titles, want)
	}
	b.says("device-charts", "all cores", "core 7", "soc-thermal", "nvme Composite", "°C", "Mbit/s", "/\n33 %", "/data\n")
	b.calm()
	b.close()

	b = look(t, "healthy", at.url, always, phone, phone.inTheDark(), desktop.inTheDark(), desktop)
	for _, v := range []view{{name: "page-desktop", width: 1280, height: 1120}, {name: "page-phone", width: 390, height: 844, phone: true, dark: true}} {
		open(t, at.url, v).frame(v.name) // for docs/images
	}
	b.says("state", "OK")
	b.says("device", device)
	b.says("delivery", "Sent today", "Forecast for a month", "both ways")
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
	b.says("reasons", "No upload for 4 min, limit 1 min: connection refused by metrics.example", "Last error", "Remedy", "shipperd doctor", "The clock is 7.2 s behind", "since")
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
	b.says("reasons", "Some samples could not be delivered", "belabox-shipperd deadletter list", "1 of 5 collectors are failing: thermal")
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

// arrive stores one more sample, in a point of its own of the range of 15 minutes.
func (s served) arrive(t *testing.T, series *store.Series, value float64) {
	t.Helper()
	in, err := store.OpenInserter(t.Context(), store.Options{Path: s.page.cfg.Config.Storage.Path, Daemon: "collectord", Version: "1.2.0"}, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close(t.Context()) //nolint:errcheck // the test's own file
	next := time.Now().Truncate(5 * time.Second).Add(5 * time.Second)
	if _, err := in.Insert(t.Context(), next, []store.Sample{{Series: series, Value: value}}); err != nil {
		t.Fatal(err)
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
	at.arrive(t, store.NewSeries(device, "cpu.usage_percent", store.Number, store.Tag{Name: "core", Value: "all"}), 98.7)
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
	at.arrive(t, store.NewSeries(device, "load.average_1m", store.Number), 42.5)
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
