package run

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"belabox-metrics/shared/testkit"
)

const childVar = "BELABOX_RUN_TEST_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(childVar) != "" {
		stubborn()
	}
	os.Exit(m.Run())
}

// stubborn is a process that says when it was told to stop, and then hangs.
func stubborn() {
	ctx, stop := Signals(context.Background())
	defer stop()
	fmt.Println("ready")
	<-ctx.Done()
	fmt.Println(SignalOf(ctx))
	// The limit only keeps a broken test from leaving a process behind.
	time.Sleep(time.Minute)
	os.Exit(3)
}

// TestSignals_SecondKills sends real signals to a real process.
func TestSignals_SecondKills(t *testing.T) {
	t.Parallel()
	f := func(first, second syscall.Signal, wantSignal string) {
		t.Helper()
		self := testkit.Self(t)
		cmd := exec.CommandContext(t.Context(), self.Path, self.Args...)
		cmd.Env = append(os.Environ(), childVar+"=1")
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		line := func(want string) {
			t.Helper()
			if !lines.Scan() || lines.Text() != want {
				t.Errorf("got line %q (%v), want %q", lines.Text(), lines.Err(), want)
			}
		}
		signal := func(s syscall.Signal) {
			t.Helper()
			if err := cmd.Process.Signal(s); err != nil {
				t.Error(err)
			}
		}
		line("ready")
		signal(first)
		line(wantSignal)
		signal(second)
		exit, ok := errors.AsType[*exec.ExitError](cmd.Wait())
		if !ok {
			t.Fatal("the process ended by itself, want it killed by the second signal")
		}
		status := exit.Sys().(syscall.WaitStatus)
		if !status.Signaled() || status.Signal() != second {
			t.Errorf("after %v, %v: got %v, want killed by the second signal", first, second, exit)
		}
	}
	// SIGINT is not tried as the second one: a shell's background job is started with it ignored.
	f(syscall.SIGTERM, syscall.SIGTERM, "terminated")
	f(syscall.SIGINT, syscall.SIGTERM, "interrupt")
}

func TestSignals_EndsWithoutOne(t *testing.T) {
	t.Parallel()
	ctx, stop := Signals(t.Context())
	if ctx.Err() != nil {
		t.Fatalf("got %v before any signal, want nil", ctx.Err())
	}
	stop()
	if !errors.Is(ctx.Err(), context.Canceled) || SignalOf(ctx) != "" {
		t.Errorf("got %v, signal %q after stop, want %v", ctx.Err(), SignalOf(ctx), context.Canceled)
	}
	parent, cancel := context.WithCancel(t.Context())
	ctx, stop = Signals(parent)
	defer stop()
	cancel()
	if !errors.Is(ctx.Err(), context.Canceled) {
		t.Errorf("got %v after the parent ended, want %v", ctx.Err(), context.Canceled)
	}
}

func TestFinal(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		type key struct{}
		parent, cancel := context.WithCancel(context.WithValue(t.Context(), key{}, "kept"))
		cancel()
		ctx, done := Final(parent)
		defer done()
		if ctx.Err() != nil || ctx.Value(key{}) != "kept" {
			t.Errorf("got %v, %v, want a live context with the parent's values", ctx.Err(), ctx.Value(key{}))
		}
		start := time.Now()
		<-ctx.Done()
		if got := time.Since(start); got != stopLimit {
			t.Errorf("got %v, want %v", got, stopLimit)
		}
	})
}
