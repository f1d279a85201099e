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
	file, err := store.OpenDeadLetters(ctx, env.Config.Storage.Path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	all := ids == nil
	if all {
		if ids, err = presentDeadLetters(ctx, file); err != nil {
			return err
		}
		if len(ids) == 0 {
			fmt.Fprintln(env.Stdout, "no dead letters")
			return nil
		}
	}
	retried := 0
	for _, id := range ids {
		var why string
		if why, err = retryDeadLetter(ctx, file, id); err != nil {
			break
		}
		if why == "" {
			retried++
		} else {
			fmt.Fprintf(env.Stdout, "%d %s\n", id, why)
		}
	}
	fmt.Fprintf(env.Stdout, "%d of %d samples are pending again\n", retried, len(ids))
	if err == nil && !all && retried < len(ids) {
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
			return nil, fmt.Errorf("%q is not the ID of a dead letter; give IDs, or only all", arg)
		}
		ids[i] = id
	}
	return ids, nil
}

// presentDeadLetters returns the IDs of all dead letters, oldest first. Those that return while
// they are retried have greater IDs.
func presentDeadLetters(ctx context.Context, file *store.DeadLetters) (ids []int64, err error) {
	for last := int64(0); ; {
		page, err := file.DeadLetters(ctx, last, deadLettersAtOnce)
		if err != nil || len(page) == 0 {
			return ids, err
		}
		for _, l := range page {
			last = l.ID
			ids = append(ids, last)
		}
	}
}

// retryDeadLetter makes one sample pending, or returns why it cannot.
func retryDeadLetter(ctx context.Context, file *store.DeadLetters, id int64) (why string, err error) {
	found, err := file.DeadLetters(ctx, id-1, 1)
	if err != nil {
		return "", err
	}
	if len(found) == 0 || found[0].ID != id {
		return "is not a dead letter", nil
	}
	retried, err := file.Retry(ctx, id)
	switch l := found[0]; {
	case err != nil || retried:
		return "", err
	case l.Type == store.Text || !l.Value.Valid:
		return "stays a dead letter: it has no number, and only numbers are sent", nil
	case l.TimestampMS < 0 || l.TimestampMS > store.MaxTimestampMS:
		return "stays a dead letter: its time is not between 1970 and 2039", nil
	}
	return "stays a dead letter: the file has a sample of the same series and time", nil
}
