// Command receiver takes the samples that shipperd sends to VictoriaMetrics' /api/v1/import. It is the gateway for fleets
// that face the internet: each device has a bearer token and writes and reads its own samples only, and VictoriaMetrics,
// to which it passes them on, stays inside. Without an upstream it keeps the samples itself, in one SQLite file.
//
//	receiver -listen :8443 -tls-cert cert.pem -tls-key key.pem -tokens tokens -upstream http://127.0.0.1:8428/api/v1/import
//	receiver -listen 127.0.0.1:8428 -db receiver.db
//
// An import is answered with status 200 and
//
//	{"accepted":2,"rejected":1,"lines":[{"line":2,"reason":"value is not a number","retry":false,"timestamps":[1700000000000]}]}
//
// accepted and rejected count samples. lines has an entry for each line and reason for which samples were not stored;
// without timestamps the whole line was refused. retry tells whether the same samples may be sent again later. Of the
// other statuses these mean that nothing was stored: 401 the token is not known, 403 none of the samples is the token's,
// 413 the body is too large, 429 too many requests. After 400, 422 and 5xx an upstream may have stored a part, and the
// text says so; without an upstream nothing was stored. Retry-After says when to come again.
//
// A chunk that comes again under the same X-Chunk-Id with the same bytes is answered as before. With an upstream that
// holds for ten seconds: less than shipperd waits before it looks whether its samples are there, for a chunk that is sent
// after that is one that the upstream has lost.
//
// Kept here, a sample is a series and a timestamp. One that is sent again is accepted and not stored twice; one that comes
// with another value replaces the first: the last write wins.
//
// Exit codes: 0 stopped as asked, 1 it could not work, 2 the command line is wrong.
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

	"belabox-metrics/docker/receiver/internal/tokens"
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
	if c.newToken != "" {
		return printToken(c.newToken, stdout, stderr)
	}
	log := slog.New(slog.NewTextHandler(stderr, nil))
	if err := serve(ctx, c, log); err != nil {
		log.Error("receiver ends", "err", err)
		return 1
	}
	log.Info("stopped")
	return 0
}

// printToken makes a token for a device.
func printToken(device string, stdout, stderr io.Writer) int {
	token, line, err := tokens.New(device)
	if err != nil {
		fmt.Fprintf(stderr, "receiver: -new-token: %v\n", err)
		return 2
	}
	fmt.Fprintf(stdout, "# the token, for remote.auth_token_file of the device; it is kept nowhere else\n%s\n"+
		"# its line for the file of -tokens\n%s", token, line)
	return 0
}
