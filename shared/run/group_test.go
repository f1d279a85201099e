package run

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

var errBoom = errors.New("boom")

// wait is a well-behaved task.
func wait(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

func TestGroup_Result(t *testing.T) {
	t.Parallel()
	fails := func(context.Context) error { return errBoom }
	ends := func(context.Context) error { return nil }
	f := func(name, want string, tasks ...func(context.Context) error) {
		t.Helper()
		var g Group
		for i, task := range tasks {
			g.Add(fmt.Sprint("t", i), task)
		}
		got := ""
		if err := g.Run(t.Context()); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	f("no tasks", "")
	f("one ends, the others are cancelled", "", wait, ends, wait)
	f("one fails, the others are cancelled", `task "t1": boom`, wait, fails, wait)
	f("a panic", `task "t0": panic: oh`, func(context.Context) error { panic("oh") }, wait)
	f("a wrapped cancellation after the stop began", `task "t0": boom`, fails, func(ctx context.Context) error {
		return fmt.Errorf("send chunk: %w", wait(ctx))
	})
	f("the cause of the context after the stop began", "", ends, func(ctx context.Context) error {
		<-ctx.Done()
		return context.Cause(ctx)
	})
	f("final work that fails is told after the cause", "task \"t0\": boom\ntask \"t1\": checkpoint: boom", fails,
		func(ctx context.Context) error {
			<-ctx.Done()
			return fmt.Errorf("checkpoint: %w", errBoom)
		})
	f("final work that takes too long is no clean stop", `task "t1": context deadline exceeded`, ends,
		func(ctx context.Context) error {
			<-ctx.Done()
			return context.DeadlineExceeded
		})
	f("a cancellation nobody asked for", `task "t1": context canceled`, wait, func(context.Context) error {
		return context.Canceled
	})
	f("a panic with a context error as its value", `task "t1": panic: context canceled`, ends,
		func(ctx context.Context) error {
			<-ctx.Done()
			panic(ctx.Err())
		})
	f("Goexit", `task "t1": ended by runtime.Goexit`, wait, func(context.Context) error {
		runtime.Goexit()
		return nil
	})
}

func TestGroup_ErrorsStayReadable(t *testing.T) {
	t.Parallel()
	var g Group
	g.Add("collect", func(context.Context) error { panicHere(); return nil })
	g.Add("checkpoint", func(ctx context.Context) error { <-ctx.Done(); return errBoom })
	err := g.Run(t.Context())

	if !errors.Is(err, errBoom) {
		t.Errorf("got %v, want it to wrap %v", err, errBoom)
	}
	p, ok := errors.AsType[*PanicError](err)
	if !ok {
		t.Fatalf("got %v, want a *PanicError in it", err)
	}
	if p.Task != "collect" || p.Value != "broken" {
		t.Errorf("got task %q, value %v, want collect, broken", p.Task, p.Value)
	}
	if !strings.Contains(string(p.Stack), "panicHere") {
		t.Errorf("the stack does not name the function that panicked:\n%s", p.Stack)
	}
}

func panicHere() { panic("broken") }

func TestGroup_ParentEndsAll(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var g Group
	var started atomic.Int32
	for range 10 {
		g.Add("wait", func(ctx context.Context) error {
			if started.Add(1) == 10 {
				cancel()
			}
			return wait(ctx)
		})
	}
	if err := g.Run(ctx); err != nil {
		t.Errorf("got %v, want nil", err)
	}
}

// TestGroup_WaitsForTheLast has a task that needs three seconds to drain: Run must not return
// before.
func TestGroup_WaitsForTheLast(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var g Group
		drained := false
		g.Add("fails", func(context.Context) error { return errBoom })
		g.Add("drains", func(ctx context.Context) error {
			<-ctx.Done()
			time.Sleep(3 * time.Second)
			drained = true
			return nil
		})
		start := time.Now()
		err := g.Run(t.Context())
		if !errors.Is(err, errBoom) || !drained || time.Since(start) != 3*time.Second {
			t.Errorf("got %v, drained %v after %v, want boom, true after 3s", err, drained, time.Since(start))
		}
	})
}
