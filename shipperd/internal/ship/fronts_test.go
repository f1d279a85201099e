package ship

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"belabox-metrics/shared/store"
	"belabox-metrics/shared/testkit"
	"belabox-metrics/shipperd/internal/victoria"
)

// What can be between a device and its server, in the cases that lost or duplicated samples with
// 1.0.0. The numbers are those of the cases.

func isImport(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, "/import") }

// portal is a login page: POST gets an empty 200, the rest what read does; the clock is off.
func portal(off time.Duration, read http.HandlerFunc) testkit.Front {
	return func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
		w.Header().Set("Date", time.Now().Add(off).UTC().Format(http.TimeFormat))
		_, _ = io.Copy(io.Discard, r.Body)
		if r.Method != http.MethodPost {
			read(w, r)
		}
	}
}

func answer(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

// TestPortal (cases 1 and 2): a login page answers everything for 100 s or 12 minutes, with a clock
// 100 days back. Nothing that it answers counts; everything arrives afterwards, once, with its own
// time.
func TestPortal(t *testing.T) {
	t.Parallel()
	for name, read := range map[string]http.HandlerFunc{
		"302": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://login.invalid/", http.StatusFound)
		},
		"401": answer(401, ""), "403": answer(403, ""), "404": answer(404, ""), "500": answer(500, ""),
		"a page": answer(200, "<html>log in"), "an empty 200": answer(200, ""), "101": answer(101, ""),
	} {
		for _, lasts := range []time.Duration{100 * time.Second, 12 * time.Minute} {
			if lasts > time.Hour/10 && name != "302" && name != "an empty 200" {
				continue
			}
			for _, when := range []string{"from the start", "later"} {
				t.Run(fmt.Sprint(name, ", ", lasts, ", ", when), func(t *testing.T) {
					t.Parallel()
					synctest.Test(t, func(t *testing.T) {
						r := newRig(t, 20, func(r *rig) { r.cfg.Retention = 0 })
						r.run()
						if when == "later" {
							r.live(10*time.Minute, 10*time.Second)
						}
						before := r.counts().Verified
						r.vm.Through(portal(-100*24*time.Hour, read))
						r.live(lasts, 5*time.Second)
						if c := r.counts(); c.Verified > before+1000 { // what was under way when it came
							t.Errorf("%d verified by a login page", c.Verified-before)
						}
						r.vm.Through(nil)
						r.live(5*time.Minute, 10*time.Second)
						r.deliver(2 * time.Hour)
						r.deadLetters(0, "", "")
						if c := r.counts(); c.Clamped != 0 {
							t.Errorf("%d timestamps moved by its clock", c.Clamped)
						}
					})
				})
			}
		}
	}
}

// TestPortal_Unverified: where the operator has switched verification off, a 2xx of anybody else
// than VictoriaMetrics delivers nothing either.
func TestPortal_Unverified(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 20, func(r *rig) { r.cfg.Verify.Enabled = false; r.allow.doubles = true; r.cfg.Retention = 0 })
		r.vm.Through(portal(0, answer(302, "")))
		r.run()
		r.live(30*time.Minute, 10*time.Second)
		if c := r.counts(); c.Verified != 0 || c.LastError == nil || !strings.Contains(c.LastError.Error(), "VictoriaMetrics") {
			t.Errorf("%d verified, %v", c.Verified, c.LastError)
		}
		r.vm.Through(nil)
		r.live(10*time.Minute, 10*time.Second)
		r.deliver(time.Hour)
	})
}

// queue is a proxy that answers 204 at once and delivers when it can.
type queue struct {
	mu   sync.Mutex
	shut bool
	held []*http.Request
	body [][]byte
}

// front takes imports; the rest goes straight on.
func (q *queue) front(delay time.Duration) testkit.Front {
	return func(w http.ResponseWriter, r *http.Request, server http.Handler) {
		if !isImport(r) {
			server.ServeHTTP(w, r)
			return
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		w.Header().Set("X-Server-Hostname", "queue")
		w.WriteHeader(http.StatusNoContent)
		q.mu.Lock()
		defer q.mu.Unlock()
		if q.shut {
			q.held, q.body = append(q.held, r.Clone(context.Background())), append(q.body, body)
			return
		}
		time.AfterFunc(delay, func() { pass(r.Clone(context.Background()), body, server) })
	}
}

// pass hands an import on to the server, and does not care what becomes of it.
func pass(r *http.Request, body []byte, server http.Handler) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	defer func() {
		if v := recover(); v != nil && v != http.ErrAbortHandler {
			panic(v)
		}
	}()
	r = r.WithContext(ctx)
	r.Body = io.NopCloser(bytes.NewReader(body))
	server.ServeHTTP(httptest.NewRecorder(), r)
}

// open delivers what was held, in this order, with a pause after each. What comes meanwhile has to
// wait its turn.
func (q *queue) open(server http.Handler, order func(n int) []int, pause time.Duration) {
	for {
		q.mu.Lock()
		held, body := q.held, q.body
		q.held, q.body = nil, nil
		q.shut = len(held) > 0
		q.mu.Unlock()
		if len(held) == 0 {
			return
		}
		for _, i := range order(len(held)) {
			pass(held[i], body[i], server)
			time.Sleep(pause)
		}
	}
}

func fifo(n int) (order []int) {
	for i := range n {
		order = append(order, i)
	}
	return order
}

// overtaking lets each request be overtaken by the next seven.
func overtaking(n int) []int {
	order := fifo(n)
	dice := rand.New(rand.NewPCG(1, 2))
	for i := 0; i < n; i += 8 {
		part := order[i:min(i+8, n)]
		dice.Shuffle(len(part), func(a, b int) { part[a], part[b] = part[b], part[a] })
	}
	return order
}

// TestQueue_Late (case 3): a proxy answers 204 and delivers 120 s later.
func TestQueue_Late(t *testing.T) {
	t.Parallel()
	for _, delay := range []time.Duration{20 * time.Second, 120 * time.Second, 20 * time.Minute} {
		t.Run(fmt.Sprint(delay), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, 20)
				var q queue
				r.vm.Through(q.front(delay))
				r.run()
				r.live(30*time.Minute, 10*time.Second)
				r.silent = true
				r.sleep(delay)
				r.deliver(3 * time.Hour)
				if c := r.counts(); c.Requeued != 0 {
					t.Errorf("%v: %d sent again", delay, c.Requeued)
				}
				r.deadLetters(0, "", "")
			})
		})
	}
}

// TestQueue_Shut: the proxy cannot reach the server for ten minutes. What it holds arrives in
// order, or overtakes.
func TestQueue_Shut(t *testing.T) {
	t.Parallel()
	for name, order := range map[string]func(int) []int{"in order": fifo, "overtaking": overtaking} {
		for _, pause := range []time.Duration{0, 200 * time.Millisecond} {
			t.Run(fmt.Sprint(name, ", ", pause), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					r := newRig(t, 20, func(r *rig) { r.cfg.UploadInterval = 10 * time.Second })
					var q queue
					r.vm.Through(q.front(0))
					r.run()
					r.live(10*time.Minute, 10*time.Second)
					q.mu.Lock()
					q.shut = true
					q.mu.Unlock()
					r.live(10*time.Minute, 10*time.Second)
					if c := r.counts(); c.NotVisible.IsZero() {
						t.Errorf("nobody is told: %+v", c)
					}
					q.open(r.vm, order, pause)
					r.live(10*time.Minute, 10*time.Second)
					r.deliver(time.Hour)
					if c := r.counts(); c.Requeued != 0 || !c.NotVisible.IsZero() {
						t.Errorf("%d sent again, not visible %v", c.Requeued, c.NotVisible)
					}
					r.deadLetters(0, "", "")
				})
			})
		}
	}
}

// TestQueue_Forgotten: what a queue held arrives, shows at once, and the server is killed within
// seconds, with and without what it had only in its memory. To have shown it is no proof.
func TestQueue_Forgotten(t *testing.T) {
	t.Parallel()
	for name, forgets := range map[string]time.Duration{"kept": 0, "forgotten": 10 * time.Second} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, 20, func(r *rig) { r.cfg.UploadInterval = 10 * time.Second })
				q := &queue{shut: true}
				r.vm.Through(q.front(0))
				r.run()
				r.live(5*time.Minute, 10*time.Second)
				look := func() {
					reads := func() int { return len(r.vm.Requests()) - len(r.vm.Imports()) }
					for before := reads(); reads() == before; {
						r.sleep(time.Second)
					}
				}
				look()
				r.sleep(unseenEvery - 4*time.Second)
				q.open(r.vm, fifo, 0) // just before the next one
				look()
				r.vm.Through(nil)
				r.sleep(time.Second)
				if r.vm.Restart(forgets) == 0 && forgets > 0 {
					t.Fatal("the server has forgotten nothing")
				}
				r.live(10*time.Minute, 10*time.Second)
				r.deliver(3 * time.Hour)
				r.deadLetters(0, "", "")
			})
		})
	}
}

// half takes the lines of an import apart by their series.
func half(t testing.TB, body []byte) (now, late []byte) {
	z, err := gzip.NewReader(bytes.NewReader(body))
	if err != nil {
		t.Error(err)
		return nil, nil
	}
	text, err := io.ReadAll(z)
	if err != nil {
		t.Error(err)
	}
	var parts [2]bytes.Buffer
	var zips [2]*gzip.Writer
	for i := range zips {
		zips[i] = gzip.NewWriter(&parts[i])
	}
	for line := range bytes.Lines(text) {
		series, _, _ := bytes.Cut(line, []byte("}"))
		h := fnv.New32a()
		_, _ = h.Write(series)
		_, _ = zips[h.Sum32()%2].Write(line)
	}
	for _, z := range zips {
		_ = z.Close()
	}
	return parts[0].Bytes(), parts[1].Bytes()
}

// TestFrozenHalf (case 4): one store of two is frozen. What was accepted for it lies in a buffer;
// for four seconds after it continues, answers claim to be complete and lack it.
func TestFrozenHalf(t *testing.T) {
	t.Parallel()
	for _, frozen := range []time.Duration{30 * time.Second, 70 * time.Second, 12 * time.Minute} {
		for _, told := range []bool{true, false} { // false: -replicationFactor=2, the answers claim to be full
			t.Run(fmt.Sprint(frozen, ", partial answers are told: ", told), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					r := newRig(t, 20, func(r *rig) { r.cfg.UploadInterval = 5 * time.Second; r.cfg.Verify.Delay = 15 * time.Second })
					var mu sync.Mutex
					var late []func()
					down := false
					front := func(w http.ResponseWriter, req *http.Request, server http.Handler) {
						mu.Lock()
						defer mu.Unlock()
						switch {
						case isImport(req) && down:
							body, err := io.ReadAll(req.Body)
							if err != nil {
								return
							}
							one, other := half(t, body)
							again := req.Clone(context.Background())
							late = append(late, func() { pass(again, other, server) })
							pass(req.Clone(context.Background()), one, server)
							w.WriteHeader(http.StatusNoContent)
						case !isImport(req) && down && told:
							w.WriteHeader(http.StatusServiceUnavailable)
						default:
							server.ServeHTTP(w, req)
						}
					}
					r.vm.Through(front)
					r.run()
					r.live(3*time.Minute, 5*time.Second)
					for range 2 {
						mu.Lock()
						down = true
						mu.Unlock()
						r.pass(frozen, 5*time.Second)
						mu.Lock()
						told = false // it answers again, and lacks what lies in the buffers
						mu.Unlock()
						r.pass(4*time.Second, time.Second)
						mu.Lock()
						for _, f := range late {
							f()
						}
						late, down = nil, false
						mu.Unlock()
						r.live(3*time.Minute, 5*time.Second)
					}
					r.deliver(time.Hour)
					if c := r.counts(); c.Requeued != 0 {
						t.Errorf("%d sent again", c.Requeued)
					}
					r.deadLetters(0, "", "")
				})
			})
		}
	}
}

// rename has the server store under another device_id.
func rename(r *http.Request) {
	if isImport(r) {
		r.URL.RawQuery = "extra_label=device_id=" + url.QueryEscape(elsewhere)
	}
}

const elsewhere = "another"

// readElsewhere has reads go to a tenant that has nothing of the device.
func readElsewhere(r *http.Request) {
	if !isImport(r) {
		q := r.URL.Query()
		q.Set("match[]", `{device_id="nobody"}`)
		if q.Get("query") != "" {
			q.Set("query", strings.Replace(q.Get("query"), `"dev"`, `"nobody"`, 1))
		}
		r.URL.RawQuery = q.Encode()
	}
}

// changed is a front that changes requests.
func changed(change func(r *http.Request)) testkit.Front {
	return func(w http.ResponseWriter, r *http.Request, server http.Handler) {
		change(r)
		server.ServeHTTP(w, r)
	}
}

// TestHidden (case 5): reads go to another tenant, or the server renames a label on the way in. For
// a day nothing is sent again and nothing becomes a dead letter, and the condition is not_visible.
func TestHidden(t *testing.T) {
	t.Parallel()
	for name, hide := range map[string]func(r *http.Request){"renamed": rename, "another tenant": readElsewhere} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, 20)
				var hidden atomic.Bool
				hidden.Store(true)
				reads := 0
				r.vm.Through(func(w http.ResponseWriter, req *http.Request, server http.Handler) {
					if !isImport(req) {
						reads++
					}
					if hidden.Load() {
						hide(req)
					}
					server.ServeHTTP(w, req)
				})
				start := time.Now()
				r.run()
				for r.counts().NotVisible.IsZero() && time.Since(start) < time.Hour {
					r.pass(10*time.Second, 10*time.Second)
				}
				if took := time.Since(start); took > 5*time.Minute {
					t.Errorf("told after %v", took)
				}
				r.pass(24*time.Hour, 3*time.Minute)
				for key, n := range r.vm.Stored() {
					if n > 1 {
						t.Fatalf("%v is there %d times", key, n)
					}
				}
				if c := r.counts(); c.Requeued+c.Verified != 0 || c.NotVisible.IsZero() || len(c.Rejected) > 0 {
					t.Errorf("counts %+v", c)
				}
				if reads > 10_000 {
					t.Errorf("%d reads in a day", reads)
				}
				if name == "renamed" {
					return // what was stored under the other name stays there
				}
				r.check()
				hidden.Store(false)
				r.live(10*time.Minute, time.Minute)
				r.deliver(2 * time.Hour)
				r.deadLetters(0, "", "")
			})
		})
	}
}

// TestHidden_Refused: bodies are refused and stored in part, or not at all, while reads go to
// another tenant from the start. Nothing is sent again, because nothing shows what was stored; when
// reads reach the right tenant, everything arrives.
func TestHidden_Refused(t *testing.T) {
	t.Parallel()
	for name, keep := range map[string]testkit.Keep{
		"nothing stored": testkit.KeepNone, "a part stored": testkit.KeepEvery(2), "all stored": testkit.KeepAll,
	} {
		for _, refusals := range []int{1, 3, 20} {
			t.Run(fmt.Sprint(name, ", ", refusals), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					r := newRig(t, 20)
					r.vm.Through(changed(readElsewhere))
					for range refusals {
						r.vm.Then(testkit.Answer(400, keep))
					}
					r.run()
					for range 4 {
						r.live(30*time.Minute, time.Minute)
						r.restart()
					}
					if c := r.counts(); c.Requeued != 0 {
						t.Errorf("%d sent again", c.Requeued)
					}
					r.vm.Through(nil)
					r.live(30*time.Minute, time.Minute)
					r.deliver(2 * time.Hour)
					r.deadLetters(0, "", "")
				})
			})
		}
	}
}

// TestHidden_Meanwhile: reads go to another tenant between the two answers about samples that were
// late. Only the first of them counts.
func TestHidden_Meanwhile(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 4)
		r.ticks(3, 10*time.Second)
		q := &queue{shut: true}
		r.vm.Through(q.front(0))
		r.run()
		r.until(unseen)
		r.vm.Through(nil)
		r.tick(r.now()) // overtakes
		r.until(missing)
		r.vm.Through(changed(readElsewhere))
		q.open(r.vm, fifo, 0)
		r.sleep(time.Hour)
		r.vm.Through(nil)
		r.deliver(time.Hour)
		if c := r.counts(); c.Requeued != 0 {
			t.Errorf("%d sent again", c.Requeued)
		}
	})
}

// TestNoReads (case 6): a front without a route for reads answers 400 to them. That is told within
// two minutes, and a small file keeps fresh samples rather than accepted ones.
func TestNoReads(t *testing.T) {
	t.Parallel()
	for _, status := range []int{400, 401, 403, 404} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, 100, func(r *rig) { r.cfg.MaxDataBytes = 300 << 10; r.allow.unproven = true })
				r.vm.Through(func(w http.ResponseWriter, req *http.Request, server http.Handler) {
					if isImport(req) {
						server.ServeHTTP(w, req)
						return
					}
					w.WriteHeader(status)
				})
				start := time.Now()
				r.run()
				for r.counts().ReadError == nil {
					r.pass(10*time.Second, 10*time.Second)
					if time.Since(start) > 2*time.Minute {
						t.Fatalf("%d: not told after %v", status, time.Since(start))
					}
				}
				if e := asError(r.counts().ReadError); e.Evidence() != victoria.Refused {
					t.Errorf("%d: evidence %q", status, e.Evidence())
				}
				r.live(40*time.Minute, 10*time.Second)
				c := r.counts()
				if c.Dropped["size"] != 0 || c.Dropped["unproven"] == 0 || c.Verified != 0 {
					t.Errorf("%d: dropped %v, verified %d", status, c.Dropped, c.Verified)
				}
				r.vm.Through(nil)
				r.live(10*time.Minute, 10*time.Second)
				r.deliver(time.Hour)
			})
		})
	}
}

// impatient is a front that closes a connection that was idle for five seconds.
type impatient struct {
	net.Conn
	timer *time.Timer
}

func (c *impatient) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.timer.Reset(5 * time.Second)
	return n, err
}

func (c *impatient) Write(p []byte) (int, error) {
	c.timer.Reset(5 * time.Second)
	return c.Conn.Write(p)
}

// TestIdleClosed (case 7): the front closes idle connections, and the server behind it throws one
// metric away, or the same sample each time. Both end as dead letters, and the condition is
// not_kept.
func TestIdleClosed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 20, func(r *rig) {
			dial := r.client.Dial
			r.client.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
				c, err := dial(ctx, network, addr)
				if err != nil {
					return nil, err
				}
				i := &impatient{Conn: c}
				i.timer = time.AfterFunc(5*time.Second, func() { _ = c.Close() })
				return i, nil
			}
		})
		r.run()
		r.live(5*time.Minute, 10*time.Second)
		r.tick(r.now().Add(time.Millisecond))
		bad, lost := r.samples[0].series, len(r.samples)-3
		r.vm.Otherwise(testkit.AcceptSome(func(_ int, s testkit.Sample) bool { return s.Series != bad && int(s.Value) != lost }))
		r.allow.deadLetters = func(s sample) bool { return s.series == bad || s == r.samples[lost-1] }
		told := false
		for range 3*60 + 30 {
			r.pass(time.Minute, time.Minute)
			told = told || !r.counts().Unkept.IsZero()
		}
		r.check()
		c := r.counts()
		if !told || c.Rejected["not_stored"] < 30 {
			t.Errorf("conditions %v, dead letters %v", told, c.Rejected)
		}
		dead, err := r.watch.DeadLetters(t.Context(), 0, 10_000)
		if err != nil {
			t.Fatal(err)
		}
		found := false
		for _, l := range dead {
			found = found || int(l.Value.Float64) == lost
		}
		if !found {
			t.Error("the sample that was never stored is not a dead letter")
		}
	})
}

// TestHTTP10 (case 8): a front speaks HTTP/1.0, and bodies end with the connection.
func TestHTTP10(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 20)
		r.vm.Through(func(w http.ResponseWriter, req *http.Request, server http.Handler) {
			if isImport(req) {
				server.ServeHTTP(w, req)
				return
			}
			rec := httptest.NewRecorder()
			server.ServeHTTP(rec, req)
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			fmt.Fprintf(conn, "HTTP/1.0 %d OK\r\nX-Server-Hostname: vm\r\n\r\n%s", rec.Code, rec.Body)
		})
		r.vm.Then(testkit.Answer(500, testkit.KeepEvery(2)), testkit.Hang(testkit.WholeBody, testkit.KeepAll), testkit.AcceptSome(testkit.KeepEvery(3)))
		r.run()
		r.live(20*time.Minute, 10*time.Second)
		r.deliver(time.Hour)
	})
}

// TestThrottled_Reads (case 9): 429 with Retry-After: 7 on everything applies to reads, too.
func TestThrottled_Reads(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 20)
		r.run()
		r.live(5*time.Minute, 10*time.Second)
		var times [2][]time.Time
		r.vm.Through(func(w http.ResponseWriter, req *http.Request, _ http.Handler) {
			kind := 0
			if isImport(req) {
				kind = 1
			}
			times[kind] = append(times[kind], time.Now())
			w.Header().Set("Retry-After", "7")
			w.WriteHeader(http.StatusTooManyRequests)
		})
		r.live(10*time.Minute, 10*time.Second)
		for kind, all := range times {
			if len(all) < 3 {
				t.Errorf("%d requests of kind %d", len(all), kind)
			}
			for i := 1; i < len(all); i++ {
				if gap := all[i].Sub(all[i-1]); gap < 7*time.Second {
					t.Errorf("a gap of %v", gap)
				}
			}
		}
		r.vm.Through(nil)
		r.live(10*time.Minute, 10*time.Second)
		r.deliver(time.Hour)
	})
}

// TestBusyReads (case 10): vmselect answers 422 to whatever is larger than it can do, or to
// everything for an hour. The reads become fewer, then smaller.
func TestBusyReads(t *testing.T) {
	t.Parallel()
	for _, status := range []int{422, 429} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, 20)
				r.run()
				r.live(5*time.Minute, 10*time.Second)
				reads := 0
				r.vm.Through(func(w http.ResponseWriter, req *http.Request, server http.Handler) {
					if isImport(req) {
						server.ServeHTTP(w, req)
						return
					}
					reads++
					w.WriteHeader(status)
				})
				r.vm.Then(testkit.Answer(500, testkit.KeepEvery(2)))
				r.live(time.Hour, 10*time.Second)
				if reads < 4 || reads > 20 {
					t.Errorf("%d: %d reads in an hour", status, reads)
				}
				r.vm.Through(nil)
				r.live(30*time.Minute, 10*time.Second)
				r.deliver(time.Hour)
			})
		})
	}
}

// TestFlood (case 27): a proxy ignores the selector, and an export shows the series of
// others. It is ended early and logged, and costs little.
func TestFlood(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 20)
		r.shipper.Server = noCount{r.http}
		reads, sent := 0, 0
		r.vm.Through(func(w http.ResponseWriter, req *http.Request, server http.Handler) {
			if !strings.HasSuffix(req.URL.Path, "/export") {
				server.ServeHTTP(w, req)
				return
			}
			reads++
			for i := range 2_300_000 {
				if _, err := fmt.Fprintf(w, "{\"metric\":{\"__name__\":\"n\",\"device_id\":\"other%d\"},\"values\":[1],\"timestamps\":[1000]}\n", i); err != nil {
					return
				}
				sent++
			}
		})
		r.run()
		r.live(20*time.Minute, 10*time.Second)
		if reads < 3 || reads > 60 || sent > reads*5000 {
			t.Errorf("%d reads took %d lines", reads, sent)
		}
		if e := r.counts().ReadError; e == nil || asError(e).Evidence() != victoria.NotOurServer {
			t.Errorf("told as %v", e)
		}
		r.vm.Through(nil)
		r.live(10*time.Minute, 10*time.Second)
		r.deliver(time.Hour)
	})
}

// TestManyOfOneName: a device can have more series of one name than an answer may have strangers.
func TestManyOfOneName(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 0)
		for i := range strangersMost + 100 {
			r.series = append(r.series, store.NewSeries("dev", "page.total", store.Number, store.Tag{Name: "part", Value: fmt.Sprint(i)}))
		}
		r.shipper.Server = noCount{r.http}
		r.ticks(2, 10*time.Second)
		r.run()
		r.deliver(time.Hour)
		if e := r.counts().ReadError; e != nil {
			t.Errorf("read-back: %v", e)
		}
	})
}
