package testkit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"belabox-metrics/shared/jsonline"
)

// lines returns n lines of one sample each, of the series s0 … at the present.
func lines(n int) string {
	var b strings.Builder
	now := time.Now().UnixMilli()
	for i := range n {
		fmt.Fprintf(&b, `{"metric":{"__name__":"s%d","device_id":"d"},"values":[%d],"timestamps":[%d]}`+"\n", i, i, now)
	}
	return b.String()
}

func ask(f *FakeVM, body string) (*http.Response, string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, f.ImportURL(), strings.NewReader(body))
	if err != nil {
		return nil, "", err
	}
	client := &http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true, DialContext: f.Dial},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return resp, string(text), err
}

// TestFakeVM_Answers goes through the steps that end in an answer.
func TestFakeVM_Answers(t *testing.T) {
	t.Parallel()
	f := func(name string, step Step, wantStatus, wantStored int, wantBody string) *http.Response {
		t.Helper()
		vm := StartFakeVM(t, FakeConfig{})
		vm.Then(step)
		resp, body, err := ask(vm, lines(10))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			return &http.Response{}
		}
		if resp.StatusCode != wantStatus || body != wantBody {
			t.Errorf("%s: status %d, body %q, want %d and %q", name, resp.StatusCode, body, wantStatus, wantBody)
		}
		if got := len(vm.Samples()); got != wantStored {
			t.Errorf("%s: %d samples stored, want %d", name, got, wantStored)
		}
		seen := vm.Imports()
		if len(seen) != 1 || seen[0].Status != wantStatus || seen[0].Stored != wantStored || len(seen[0].Lines) != 10 {
			t.Errorf("%s: seen %+v", name, seen)
		}
		if vm.StepsLeft() != 0 {
			t.Errorf("%s: %d steps left", name, vm.StepsLeft())
		}
		if resp, _, err := ask(vm, ""); err != nil || resp.StatusCode != 204 {
			t.Errorf("%s: after the script %v, %v, want 204", name, resp, err)
		}
		return resp
	}
	f("accept", Accept(), 204, 10, "")
	f("accept a half", AcceptSome(KeepEvery(2)), 204, 5, "")
	f("accept nothing", AcceptSome(KeepNone), 204, 0, "")
	f("error, stored", Answer(500, KeepAll), 500, 10, "Internal Server Error")
	f("error, not stored", Answer(503, KeepNone), 503, 0, "Service Unavailable")
	f("error, stored in part", Answer(400, KeepFirst(3)), 400, 3, "Bad Request")
	f("a large answer", AcceptHugely(1000), 200, 10, strings.Repeat("0", 1000))
	f("a slow answer", AcceptSlowly(time.Millisecond), 204, 10, "")
	f("line by line", AcceptLines(func(line string) string {
		if strings.Contains(line, `"s3"`) {
			return "no threes"
		}
		return ""
	}), 200, 9, `{"accepted":9,"rejected":1,"lines":[{"line":4,"reason":"no threes","retry":false}]}`)
	own := AcceptLines(func(string) string { return "" })
	own.Details = func(accepted int, refused []LineResult) string { return fmt.Sprint(accepted, refused) }
	f("line by line in other words", own, 200, 10, "10 []")
	if got := f("wait", RetryAfter(429, "7"), 429, 0, "Too Many Requests").Header.Get("Retry-After"); got != "7" {
		t.Errorf("Retry-After %q, want 7", got)
	}
	if got := f("elsewhere", RedirectTo("http://127.0.0.1:1/"), 307, 0, "Temporary Redirect").Header.Get("Location"); got != "http://127.0.0.1:1/" {
		t.Errorf("Location %q", got)
	}
}

func TestFakeVM_AcceptSamples(t *testing.T) {
	t.Parallel()
	vm := StartFakeVM(t, FakeConfig{})
	vm.Then(AcceptSamples(func(s Sample) string {
		switch {
		case s.Value < 0:
			return "below zero"
		case s.Value > 9:
			return "above nine"
		}
		return ""
	}))
	base := time.Now().UnixMilli()
	_, body, err := ask(vm, timesIn(`{"metric":{"__name__":"a"},"values":[1,-1,10,-2,2],"timestamps":[@,@1,@2,@3,@4]}
{"metric":{"__name__":"b"},"values":[1],"timestamps":[@]}
{"metric":{"__name__":"c"},"values":[-1,-2],"timestamps":[@,@1]}
`, base))
	if err != nil {
		t.Fatal(err)
	}
	want := timesIn(`{"accepted":3,"rejected":5,"lines":[`+
		`{"line":1,"reason":"below zero","retry":false,"timestamps":[@1,@3]},{"line":1,"reason":"above nine","retry":false,"timestamps":[@2]},`+
		`{"line":3,"reason":"below zero","retry":false}]}`, base)
	if body != want {
		t.Errorf("answer\n%s\nwant\n%s", body, want)
	}
	series, err := vm.Export(`{__name__=~"a|b|c"}`)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := show(base, series), "a{} +0=1 +4=2\nb{} +0=1\n"; got != want {
		t.Errorf("stored %q, want %q", got, want)
	}
}

// TestFakeVM_Breaks goes through the steps that break the connection, stored and
// not stored.
func TestFakeVM_Breaks(t *testing.T) {
	t.Parallel()
	f := func(name string, step Step, want error, wantStored int) {
		t.Helper()
		vm := StartFakeVM(t, FakeConfig{})
		vm.Then(step)
		_, body, err := ask(vm, lines(10))
		if !errors.Is(err, want) {
			t.Errorf("%s: error %v and %q, want %v", name, err, body, want)
		}
		// The client may see the break before the server has noted the request.
		Eventually(t, WaitLimit, "the request to be noted", func() bool { return len(vm.Imports()) == 1 })
		if got := len(vm.Samples()); got != wantStored {
			t.Errorf("%s: %d samples stored, want %d", name, got, wantStored)
		}
	}
	f("reset before the body", ResetAfter(NoBody, KeepAll), syscall.ECONNRESET, 0)
	f("reset in the body, stored", ResetAfter(HalfBody, KeepAll), syscall.ECONNRESET, 5)
	f("reset in the body, not stored", ResetAfter(HalfBody, KeepNone), syscall.ECONNRESET, 0)
	f("reset after the body, stored", ResetAfter(WholeBody, KeepAll), syscall.ECONNRESET, 10)
	f("reset after the body, not stored", ResetAfter(WholeBody, KeepNone), syscall.ECONNRESET, 0)
	f("half an answer, stored", CutAnswer(200, KeepAll), io.ErrUnexpectedEOF, 10)
	f("half an answer, not stored", CutAnswer(503, KeepNone), io.ErrUnexpectedEOF, 0)
}

func TestFakeVM_Hang(t *testing.T) {
	t.Parallel()
	for _, step := range []Step{Hang(NoBody, KeepNone), Hang(HalfBody, KeepAll), Hang(WholeBody, KeepAll), AcceptSlowly(time.Hour)} {
		vm := StartFakeVM(t, FakeConfig{})
		vm.Then(step)
		done := make(chan error, 1)
		go func() {
			_, _, err := ask(vm, lines(10))
			done <- err
		}()
		Eventually(t, WaitLimit, "the request to arrive", func() bool { return len(vm.Imports()) == 1 })
		if got := vm.Imports()[0].Status; got != 0 {
			t.Errorf("status %d of a request that hangs", got)
		}
		vm.GoAway()
		if err := <-done; err == nil {
			t.Error("a request that hung was answered when the server went away")
		}
	}
}

func TestFakeVM_ComesBack(t *testing.T) {
	t.Parallel()
	for _, inMemory := range []bool{false, true} {
		vm := StartFakeVM(t, FakeConfig{InMemory: inMemory})
		if err := vm.Import(lines(3)); err != nil {
			t.Fatal(err)
		}
		vm.GoAway()
		if err := vm.Health(); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("away: %v, want connection refused", err)
		}
		vm.ComeBack()
		if err := vm.Health(); err != nil {
			t.Error(err)
		}
		if err := vm.Import(lines(2)); err != nil {
			t.Fatal(err)
		}
		if got := len(vm.Samples()); got != 5 {
			t.Errorf("%d samples, want what was stored before too, 5", got)
		}
		vm.Forget(1)
		if got := len(vm.Samples()); got != 4 {
			t.Errorf("%d samples after forgetting one of 5", got)
		}
		if got := vm.Restart(time.Hour); got != 4 {
			t.Errorf("a restart lost %d, want 4", got)
		}
		if got, err := vm.Export(`{device_id="d"}`); err != nil || len(got) != 0 {
			t.Errorf("after the restart %v, %v", got, err)
		}
	}
}

func TestFakeVM_Rules(t *testing.T) {
	t.Parallel()
	vm := StartFakeVM(t, FakeConfig{})
	four := lines(4)
	f := func(name string, wantStatus, wantStored int) {
		t.Helper()
		before := len(vm.Samples())
		resp, body, err := ask(vm, four)
		if err != nil {
			t.Fatal(err)
		}
		if stored := len(vm.Samples()) - before; resp.StatusCode != wantStatus || stored != wantStored {
			t.Errorf("%s: status %d %q, %d stored, want %d and %d", name, resp.StatusCode, body, stored, wantStatus, wantStored)
		}
	}
	vm.RequireToken("secret")
	f("no token", 401, 0)
	if _, err := vm.Export(`a`); err == nil || !strings.Contains(err.Error(), "401") {
		t.Errorf("an export without the token: %v", err)
	}
	if got := post(t, vm.ImportURL(), map[string]string{"Authorization": "Bearer secret"}, nil); got != 204 {
		t.Errorf("with the token: status %d", got)
	}
	vm.RequireToken("")
	vm.LimitBody(int64(len(four) - 1))
	f("too large", 413, 0)
	vm.LimitBody(int64(len(four)))
	f("just small enough", 204, 4)
	vm.RejectLines(func(line string) bool { return strings.Contains(line, "s2") }, true)
	f("a bad line, those before it stored", 400, 2)
	vm.RejectLines(func(line string) bool { return strings.Contains(line, "s2") }, false)
	f("a bad line, nothing stored", 400, 0)
	vm.Then(Answer(503, KeepNone))
	f("the script first", 503, 0)
	vm.RejectLines(nil, false)
	f("all over", 204, 4)
	vm.Otherwise(Answer(500, KeepAll))
	f("otherwise", 500, 4)
	if got, want := vm.Duplicates(), 4+2+4+4-4; got != want {
		t.Errorf("%d duplicates, want %d", got, want)
	}
}

func TestFakeVM_ReadSteps(t *testing.T) {
	t.Parallel()
	vm := StartFakeVM(t, FakeConfig{})
	if err := vm.Import(lines(1)); err != nil {
		t.Fatal(err)
	}
	vm.ThenRead(Answer(503, nil), ResetAfter(WholeBody, nil), Step{Reply: CutReply}, AcceptSlowly(time.Millisecond))
	for _, want := range []string{"503", "reset", "EOF"} {
		if got, err := vm.Export(`s0`); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("export: %v, %v, want an error with %q", got, err, want)
		}
	}
	if vm.Health(); vm.StepsLeft() != 1 {
		t.Errorf("%d steps left, want 1: only reads take them", vm.StepsLeft())
	}
	for range 2 {
		if got, err := vm.Export(`s0`); err != nil || len(got) != 1 {
			t.Errorf("export: %v, %v", got, err)
		}
	}
}

// TestFakeVM_ClientBreaksOff sends a body that ends too early.
func TestFakeVM_ClientBreaksOff(t *testing.T) {
	t.Parallel()
	vm := StartFakeVM(t, FakeConfig{})
	body := lines(3)
	conn, err := net.Dial("tcp", vm.Addr())
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(conn, "POST /api/v1/import HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", len(body), body[:len(body)-5])
	conn.Close()
	Eventually(t, WaitLimit, "the request", func() bool { return len(vm.Imports()) == 1 })
	if got := len(vm.Samples()); got != 2 {
		t.Errorf("%d samples, want the 2 of the lines that came whole", got)
	}
}

func TestFakeVM_InABubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		vm := StartFakeVM(t, FakeConfig{InMemory: true})
		vm.Then(Hang(WholeBody, KeepAll), AcceptSlowly(time.Minute), Accept())
		start := time.Now()
		if _, _, err := ask(vm, lines(1)); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a request that hangs: %v, want the deadline", err)
		}
		if _, _, err := ask(vm, lines(1)); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a slow answer: %v, want the deadline", err)
		}
		if resp, _, err := ask(vm, lines(1)); err != nil || resp.StatusCode != 204 {
			t.Errorf("%v, %v", resp, err)
		}
		if got, want := time.Since(start), 40*time.Second; got != want {
			t.Errorf("took %v, want %v of fake time", got, want)
		}
	})
}

func TestFakeVM_LongLine(t *testing.T) {
	t.Parallel()
	vm := StartFakeVM(t, FakeConfig{})
	long := append([]byte(lines(2)), bytes.Repeat([]byte(" x"), jsonline.MaxLineBytes/2)...)
	if got := post(t, vm.ImportURL(), nil, append(long, lines(1)...)); got != 400 {
		t.Errorf("status %d, want 400", got)
	}
	if got := len(vm.Samples()); got != 2 {
		t.Errorf("%d samples, want the 2 before the long line", got)
	}
}
