// Command healthcheck asks one address and says by its exit code whether the answer was 200: for the health check of a
// container that has no other program in it.
//
//	healthcheck http://127.0.0.1:9100/health/live
package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"
)

func main() { os.Exit(run(os.Args[1:], os.Stderr)) }

// run returns 0 for an answer of 200 within 3 s, 1 for anything else, 2 for wrong usage.
func run(args []string, stderr io.Writer) int {
	if len(args) != 1 {
		fmt.Fprintln(stderr, "usage: healthcheck URL")
		return 2
	}
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, args[0], nil)
	if err != nil {
		fmt.Fprintln(stderr, err)
		return 2
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		fmt.Fprintln(stderr, err)
		return 1
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 500)) // shown by docker inspect
	fmt.Fprintf(stderr, "%s %s\n", resp.Status, text)
	if resp.StatusCode != http.StatusOK {
		return 1
	}
	return 0
}
