// Command receiver takes the samples that shipperd sends to VictoriaMetrics' /api/v1/import and keeps them in one
// SQLite file. It serves where no VictoriaMetrics is at hand, and where the answer 204 of one is too little: the
// receiver answers line by line what it took, and only when that is on the disk.
//
//	receiver -listen 127.0.0.1:8428 -db receiver.db
//
// An import is answered with status 200 and
//
//	{"accepted":2,"rejected":1,"lines":[{"line":2,"reason":"value is not a number","retry":false,"timestamps":[1700000000000]}]}
//
// accepted and rejected count samples. lines has an entry for each line and reason for which samples were not stored;
// without timestamps the whole line was refused. retry tells whether the same samples may be sent again later. Any
// other status means that nothing was stored: 400 the body is unusable as a whole, 413 it is too large, 503 the store
// cannot be written or has no time, and Retry-After says when to come again.
//
// A sample is a series and a timestamp. One that is sent again is accepted and not stored twice; one that comes with
// another value replaces the first: the last write wins. So a sender that did not hear the answer sends again, and the
// store is the same as if it had heard.
//
// It promises no identity check: whoever can reach the address may write and read. Exit codes: 0 stopped as asked,
// 1 it could not work, 2 the command line is wrong.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"belabox-metrics/shared/buildinfo"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal kills
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	c, err := parseFlags(args, stdout)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		fmt.Fprintf(stderr, "receiver: %v\nreceiver -h tells the flags\n", err)
		return 2
	case c.version:
		fmt.Fprintln(stdout, buildinfo.String("receiver"))
		return 0
	}
	log := slog.New(slog.NewTextHandler(stderr, nil))
	if err := serve(ctx, c, log); err != nil {
		log.Error("receiver ends", "err", err)
		return 1
	}
	log.Info("stopped")
	return 0
}
