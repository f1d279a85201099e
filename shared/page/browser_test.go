package page

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"belabox-metrics/shared/testkit"
)

var shots = flag.String("shots", "", "write the screenshots to this `folder` (default: one of the test)")

// browser is one Chromium for all tests of the package.
var browser struct {
	once sync.Once
	ctx  context.Context
	stop func()
	err  error
}

func TestMain(m *testing.M) {
	code := testkit.Run(m, 6) // the page asks every 5 s or less often
	if browser.stop != nil {
		browser.stop()
	}
	os.Exit(code)
}

func startBrowser() (context.Context, error) {
	browser.once.Do(func() {
		program, err := exec.LookPath("chromium")
		if err != nil {
			browser.err = errors.New("chromium is not on the PATH: run 'make test-deps'")
			return
		}
		options := append(chromedp.DefaultExecAllocatorOptions[:],
			chromedp.ExecPath(program), chromedp.NoSandbox, chromedp.DisableGPU, chromedp.Flag("force-color-profile", "srgb"),
			chromedp.WSURLReadTimeout(testkit.WaitLimit))
		alloc, stopAlloc := chromedp.NewExecAllocator(context.Background(), options...)
		ctx, stop := chromedp.NewContext(alloc)
		browser.ctx, browser.stop = ctx, func() { stop(); stopAlloc() }
		browser.err = chromedp.Do(ctx)
	})
	return browser.ctx, browser.err
}

// view is how somebody looks at a page.
type view struct {
	name          string
	width, height int64
	phone, dark   bool
}

var (
	desktop = view{name: "desktop", width: 1280, height: 900}
	phone   = view{name: "phone", width: 390, height: 844, phone: true}
)

func (v view) inTheDark() view {
	v.dark, v.name = true, v.name+"-dark"
	return v
}

// tab is a page that is open in the browser.
type tab struct {
	t     *testing.T
	ctx   context.Context
	close func()

	mu     sync.Mutex
	faults []string // what the browser complained of
}

// open shows a page and waits until the charts of the last hour are drawn.
func open(t *testing.T, url string, v view) *tab {
	t.Helper()
	parent, err := startBrowser()
	if err != nil {
		t.Fatal(err)
	}
	b := &tab{t: t}
	ctx, stop := chromedp.NewContext(parent, chromedp.WithListener(b.hear))
	t.Cleanup(stop)
	b.ctx, b.close = ctx, stop
	if err := chromedp.Do(ctx); err != nil { // opens the tab, which ends with the context of this call
		t.Fatal(err)
	}
	scheme := "light"
	if v.dark {
		scheme = "dark"
	}
	var how []chromedp.EmulateViewportOption
	if v.phone {
		how = append(how, chromedp.EmulateMobile, chromedp.EmulateTouch)
	}
	b.do(chromedp.EmulateViewport(v.width, v.height, how...))
	media := emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}}
	if _, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, media); err != nil {
		t.Fatal(err)
	}
	b.do(chromedp.Navigate(url))
	b.until("the charts", `document.documentElement.dataset.loaded === '1h' && document.getElementById('version').textContent !== ''`)
	return b
}

// hear notes what the console and the network complain of.
func (b *tab) hear(event any) {
	note := func(format string, args ...any) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.faults = append(b.faults, fmt.Sprintf(format, args...))
	}
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		note("exception: %s", e.ExceptionDetails.Text)
		if x := e.ExceptionDetails.Exception; x != nil {
			note("exception: %s", x.Description)
		}
	case *runtime.EventConsoleAPICalled:
		if e.Type == "error" || e.Type == "warning" {
			note("console: %s", e.Args[0].Value)
		}
	case *log.EventEntryAdded:
		if e.Entry.Level == "error" || e.Entry.Level == "warning" {
			note("log: %s %s", e.Entry.Text, e.Entry.URL)
		}
	case *network.EventRequestWillBeSent:
		if !strings.HasPrefix(e.Request.URL, "http://127.0.0.1:") {
			note("asks %s", e.Request.URL)
		}
	}
}

// calm fails the test if the browser reported an error.
func (b *tab) calm() {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, f := range b.faults {
		b.t.Errorf("the browser reports: %s", f)
	}
}

func (b *tab) do(actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, testkit.WaitLimit)
	defer cancel()
	if err := chromedp.Do(ctx, actions...); err != nil {
		b.t.Fatalf("browser: %v", err)
	}
}

// until waits for a JavaScript expression to become true.
func (b *tab) until(what, expression string) {
	b.t.Helper()
	testkit.Eventually(b.t, testkit.WaitLimit, what, func() bool {
		ok, err := chromedp.Run(b.ctx, chromedp.Evaluate[bool]("Boolean("+expression+")"))
		return err == nil && ok
	})
}

func eval[T any](b *tab, expression string) T {
	b.t.Helper()
	value, err := chromedp.Run(b.ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		b.t.Fatalf("%s: %v", expression, err)
	}
	return value
}

func (b *tab) text(id string) string {
	b.t.Helper()
	return eval[string](b, fmt.Sprintf("document.getElementById(%q).innerText", id))
}

// shot writes a picture of the whole page.
func (b *tab) shot(name string) {
	b.t.Helper()
	b.picture(name, chromedp.FullScreenshot(100))
}

// frame writes a picture of what the screen shows first.
func (b *tab) frame(name string) {
	b.t.Helper()
	b.picture(name, chromedp.CaptureScreenshot())
}

func (b *tab) picture(name string, take chromedp.Action[[]byte]) {
	b.t.Helper()
	dir := *shots
	if dir == "" {
		dir = b.t.TempDir()
	}
	png, err := chromedp.Run(b.ctx, take)
	if err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name+".png"), png, 0o644); err != nil {
		b.t.Fatal(err)
	}
	if len(png) < 5000 {
		b.t.Errorf("%s: a picture of %d bytes shows nothing", name, len(png))
	}
}
