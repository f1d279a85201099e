package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math"
	"slices"
	"strconv"

	"belabox-metrics/shared/daemon"
	"belabox-metrics/shared/store"
)

const deadletterUsage = `deadletter list [-reason R] [-limit N] [-json]
       shipperd [-config FILE] deadletter retry ID...|all

list shows the samples that could not be delivered. retry makes them pending again:
a running shipperd sends them with its next upload, and those that the server
rejects again return with a new ID. Both run beside the daemons.
`

// deadLettersAtOnce is how many are read at once.
const deadLettersAtOnce = 500

// deadletter lists dead letters or retries them.
func deadletter(ctx context.Context, env daemon.Env) error {
	fs := flag.NewFlagSet("deadletter", flag.ContinueOnError)
	rest, err := parseFlags(env, fs, env.Args, math.MaxInt, deadletterUsage)
	if err != nil {
		return helped(err)
	}
	if len(rest) == 0 {
		return misused("deadletter", errors.New("give list or retry"))
	}
	switch rest[0] {
	case "list":
		return listDeadLetters(ctx, env, rest[1:])
	case "retry":
		return retryDeadLetters(ctx, env, rest[1:])
	}
	return misused("deadletter", fmt.Errorf("unknown command %q", rest[0]))
}

func listDeadLetters(ctx context.Context, env daemon.Env, args []string) (err error) {
	fs := flag.NewFlagSet("deadletter", flag.ContinueOnError)
	reason := fs.String("reason", "", "list only dead letters with this `reason`")
	limit := fs.Int("limit", 100, "list at most this `number`, 0 = all")
	asJSON := fs.Bool("json", false, "write a JSON array")
	if _, err := parseFlags(env, fs, args, 0, deadletterUsage); err != nil {
		return helped(err)
	}
	if *limit < 0 {
		return misused("deadletter", errors.New("-limit is negative"))
	}
	file, err := store.OpenReader(ctx, env.Config.Storage.Path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	out := deadLetterPrinter(&deadLetterTable{w: env.Stdout})
	if *asJSON {
		out = &deadLetterArray{w: env.Stdout}
	}
	var reasons []string
	if *reason != "" {
		reasons = append(reasons, *reason)
	}
	shown, last := 0, int64(0)
	for {
		page := deadLettersAtOnce
		if *limit > 0 {
			page = min(page, *limit-shown)
		}
		letters, err := file.DeadLetters(ctx, last, page, reasons...)
		if err != nil {
			return err
		}
		for _, l := range letters {
			last = l.ID
			if err := out.add(l); err != nil {
				return err
			}
		}
		if shown += len(letters); len(letters) < page || shown == *limit {
			break
		}
	}
	counts, err := file.DeadLettersByReason(ctx)
	if err != nil {
		return err
	}
	return out.end(shown, counts, *reason)
}

func retryDeadLetters(ctx context.Context, env daemon.Env, args []string) (err error) {
	fs := flag.NewFlagSet("deadletter", flag.ContinueOnError)
	args, err = parseFlags(env, fs, args, math.MaxInt, deadletterUsage)
	if err != nil {
		return helped(err)
	}
	ids, err := deadLetterIDs(args)
	if err != nil {
		return misused("deadletter", err)
	}
	letters, err := store.OpenDeadLetters(ctx, env.Config.Storage.Path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, letters.Close()) }()
	r := retrier{letters: letters, env: env}
	if ids == nil {
		err = r.all(ctx)
	} else {
		err = r.some(ctx, ids)
	}
	if ids == nil && err == nil && r.retried+r.kept == 0 {
		fmt.Fprintln(env.Stdout, "no dead letters")
		return nil
	}
	fmt.Fprintf(env.Stdout, "%d of %d samples are pending again\n", r.retried, r.retried+r.kept)
	if err == nil && ids != nil && r.kept > 0 {
		return daemon.ErrSilent
	}
	return err
}

// deadLetterIDs parses the arguments of retry; nil means all.
func deadLetterIDs(args []string) ([]int64, error) {
	if len(args) == 0 {
		return nil, errors.New("give IDs, or all")
	}
	if slices.Equal(args, []string{"all"}) {
		return nil, nil
	}
	ids := make([]int64, len(args))
	for i, arg := range args {
		id, err := strconv.ParseInt(arg, 10, 64)
		if err != nil || id <= 0 {
			return nil, fmt.Errorf("%q is not the ID of a dead letter; give IDs, or all alone", arg)
		}
		ids[i] = id
	}
	return ids, nil
}

// retrier counts the results of a retry.
type retrier struct {
	letters       *store.DeadLetters
	env           daemon.Env
	retried, kept int
}

func (r *retrier) some(ctx context.Context, ids []int64) error {
	for _, id := range ids {
		found, err := r.letters.DeadLetters(ctx, id-1, 1)
		if err != nil {
			return err
		}
		if len(found) == 0 || found[0].ID != id {
			fmt.Fprintf(r.env.Stdout, "%d: no such dead letter\n", id)
			r.kept++
			continue
		}
		if err := r.retry(ctx, found[0]); err != nil {
			return err
		}
	}
	return nil
}

// all retries the present dead letters, oldest first. Those that return meanwhile have greater IDs.
func (r *retrier) all(ctx context.Context) error {
	last, err := r.last(ctx)
	if err != nil {
		return err
	}
	for at := int64(0); at < last; {
		page, err := r.letters.DeadLetters(ctx, at, deadLettersAtOnce)
		if err != nil || len(page) == 0 {
			return err
		}
		for _, l := range page {
			if at = l.ID; at > last {
				break
			}
			if err := r.retry(ctx, l); err != nil {
				return err
			}
		}
	}
	return nil
}

// last returns the greatest ID.
func (r *retrier) last(ctx context.Context) (id int64, err error) {
	for {
		page, err := r.letters.DeadLetters(ctx, id, deadLettersAtOnce)
		if err != nil || len(page) == 0 {
			return id, err
		}
		id = page[len(page)-1].ID
	}
}

// retry makes one sample pending, or prints why it cannot.
func (r *retrier) retry(ctx context.Context, l store.DeadLetter) error {
	retried, err := r.letters.Retry(ctx, l.ID)
	switch {
	case err != nil:
		return err
	case retried:
		r.retried++
		return nil
	}
	r.kept++
	why := "the file has a sample of the same series and time"
	switch {
	case l.Type == store.Text || !l.Value.Valid:
		why = "it has no number, and only numbers are sent"
	case l.TimestampMS < 0 || l.TimestampMS > store.MaxTimestampMS:
		why = "its time is not between 1970 and 2039"
	}
	fmt.Fprintf(r.env.Stdout, "%d stays a dead letter: %s\n", l.ID, why)
	return nil
}
