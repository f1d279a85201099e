// Package run holds the parts of a program's life: tasks that start and stop together, the two
// signals, and the time limit for final work.
//
// It promises that no task outlives its Group, that the end of one task ends all, that every error
// carries the name of its task, and that a panic in a task reaches the caller as an error, so that
// locks are released before the process ends. It does not restart tasks, does not stop one that
// ignores its context, and cannot catch a panic in a goroutine that a task started by itself.
package run

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
)

// Group is a set of named tasks. The zero Group is ready to use, once.
type Group struct {
	tasks []task
}

type task struct {
	name string
	run  func(ctx context.Context) error
}

// Add puts a task into the group; it starts with Run. A task works until its context ends and then
// returns nil or the context's error. Add must not be called once Run was.
func (g *Group) Add(name string, run func(ctx context.Context) error) {
	g.tasks = append(g.tasks, task{name, run})
}

// Run starts all tasks, cancels all when the first one ends or ctx does, and returns when the last
// one has ended.
//
// The result is nil when every task ended without an error, or with context.Canceled after the stop
// had begun. Else it joins the errors in the order in which the tasks ended, so that the first is
// the cause of the stop; a panic among them is a *PanicError.
func (g *Group) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()

	var (
		wg   sync.WaitGroup
		mu   sync.Mutex
		errs []error
	)
	for _, t := range g.tasks {
		wg.Go(func() {
			// In a defer, because runtime.Goexit in a task (t.Fatal in a test) would skip anything
			// else.
			err := errGoexit
			defer func() {
				mu.Lock()
				defer mu.Unlock()
				if err = t.fault(ctx, err); err != nil {
					errs = append(errs, err)
				}
				cancel()
			}()
			err = t.call(ctx)
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

var errGoexit = errors.New("ended by runtime.Goexit")

// call runs the task and turns its panic into an error.
func (t task) call(ctx context.Context) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &PanicError{Task: t.name, Value: v, Stack: debug.Stack()}
		}
	}()
	return t.run(ctx)
}

// Protect runs one task and turns its panic into an error: Run for a single task, whose errors come
// back as they are.
func Protect(ctx context.Context, name string, run func(ctx context.Context) error) error {
	return task{name, run}.call(ctx)
}

// fault returns what err adds to the result of Run. Being cancelled is a fault only before the stop
// has begun.
func (t task) fault(ctx context.Context, err error) error {
	if err == nil || (ctx.Err() != nil && errors.Is(err, context.Canceled)) {
		return nil
	}
	return fmt.Errorf("task %q: %w", t.name, err)
}

// PanicError is a panic caught at the boundary of a task. Whoever gets one logs the stack, releases
// what it holds and exits with code 1: the state of the process cannot be trusted any more.
type PanicError struct {
	Task  string
	Value any
	Stack []byte // of the panicking goroutine, as debug.Stack gives it
}

// Error leaves out the stack, which has a place of its own in the log, and the task, which Run
// names for every error.
func (e *PanicError) Error() string { return fmt.Sprintf("panic: %v", e.Value) }

// ErrorType is the class under which logs show the error.
func (e *PanicError) ErrorType() string { return "panic" }
