package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"

	"belabox-metrics/shared/daemon"
	"belabox-metrics/shared/store"
)

// plainly wraps a command: its errors are a line of text, not of log, and one that was interrupted
// has failed.
func plainly(name string, run func(ctx context.Context, env daemon.Env) error) func(ctx context.Context, env daemon.Env) error {
	return func(ctx context.Context, env daemon.Env) error {
		err := run(ctx, env)
		var usage *daemon.UsageError
		if err == nil || errors.Is(err, daemon.ErrSilent) || errors.As(err, &usage) {
			return err
		}
		text := env.Secrets.Redact(err.Error())
		switch {
		case ctx.Err() != nil:
			text = "interrupted"
		case errors.Is(err, fs.ErrPermission):
			text += "; run this as root or as the user of the daemons"
		}
		fmt.Fprintf(env.Stderr, "shipperd %s: %s\n", name, text)
		return daemon.ErrSilent
	}
}

// errHelp ends a command that has printed its help.
var errHelp = errors.New("help")

// parseFlags parses the flags of a command and returns its arguments, at most maxArgs. usage is its
// help, up to the list of flags.
func parseFlags(env daemon.Env, fs *flag.FlagSet, args []string, maxArgs int, usage string) (rest []string, err error) {
	fs.SetOutput(io.Discard) // errors are printed once, by the frame
	err = fs.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprintf(env.Stdout, "Usage: shipperd [-config FILE] %s\n", usage)
		fs.SetOutput(env.Stdout)
		fs.PrintDefaults()
		return nil, errHelp
	case err == nil && fs.NArg() > maxArgs:
		err = fmt.Errorf("unexpected argument %q", fs.Arg(maxArgs))
	}
	if err != nil {
		return nil, misused(fs.Name(), err)
	}
	return fs.Args(), nil
}

// misused is the error of a wrong command line.
func misused(command string, err error) error {
	return &daemon.UsageError{Text: fmt.Sprintf("%s: %v; try 'shipperd %s -help'", command, err, command)}
}

// helped turns errHelp into success.
func helped(err error) error {
	if errors.Is(err, errHelp) {
		return nil
	}
	return err
}

// printJSON writes v as indented JSON.
func printJSON(w io.Writer, v any) error {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "%s\n", text)
	return err
}

// ledger is store.Ledger in JSON.
type ledger struct {
	Inserted    int64            `json:"inserted"`
	Pending     int64            `json:"pending"`
	Accepted    int64            `json:"accepted"`
	Verified    int64            `json:"verified"`
	Rejected    int64            `json:"rejected"`
	Dropped     map[string]int64 `json:"dropped"`
	NotSendable int64            `json:"not_sendable"`
	Difference  int64            `json:"difference"` // 0, or the ledger is wrong
}

func ledgerOf(l store.Ledger) ledger {
	return ledger{l.Inserted, l.Pending, l.Accepted, l.Verified, l.Rejected, l.Dropped, l.Unsendable, l.Difference()}
}

func (l ledger) dropped() (n int64) {
	for _, samples := range l.Dropped {
		n += samples
	}
	return n
}

// print writes the accounts and whether they add up.
func (l ledger) print(w io.Writer) {
	fmt.Fprintln(w, "ledger")
	line := func(n int64, account, meaning string) {
		fmt.Fprintf(w, "  %-13s %12d  %s\n", account, n, meaning)
	}
	line(l.Inserted, "inserted", "ever stored in the file")
	fmt.Fprintln(w)
	line(l.Pending, "pending", "to be sent, or sent again")
	line(l.Accepted, "accepted", "accepted by the server (2xx), not yet read back")
	line(l.Verified, "verified", "read back")
	line(l.Rejected, "rejected", "dead letters")
	line(l.dropped(), "dropped", "lost: "+reasons(l.Dropped, "none"))
	line(l.NotSendable, "not sendable", "strings, which are never sent")
	verdict := "adds up"
	if l.Difference != 0 {
		verdict = fmt.Sprintf("DOES NOT ADD UP: off by %+d", l.Difference)
	}
	line(l.Inserted+l.Difference, "sum", verdict)
}
