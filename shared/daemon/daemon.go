// Package daemon starts and stops both daemons: the same flags, the same exit codes, one process
// per database, and a clean shutdown.
//
// It promises that a wrong command line or configuration changes nothing and ends with code 2, that
// the work starts only with the lock held, and that the first SIGTERM or SIGINT drains while the
// second kills. What root starts works as the owner of the data directory
// (docs/decisions/0011-root.md). It limits the resources of a daemon: one core, a small heap,
// timers that may be late, no pages that only rare work needs. GOMAXPROCS and GOGC in the
// environment take precedence.
package daemon

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"strings"

	"belabox-metrics/shared/buildinfo"
	"belabox-metrics/shared/config"
	"belabox-metrics/shared/human"
	"belabox-metrics/shared/lock"
	"belabox-metrics/shared/logx"
	"belabox-metrics/shared/run"
	"belabox-metrics/shared/sdnotify"
	"belabox-metrics/shared/store"
)

// Exit codes of the daemons.
const (
	ExitOK      = 0
	ExitFailure = 1 // a failure, or a check that did not pass
	ExitUsage   = 2 // wrong command line or configuration; nothing was touched
)

// Program is one daemon.
type Program struct {
	Name    string
	Summary string // one line for -help
	// Serve works until ctx ends. It runs with the lock held.
	Serve func(ctx context.Context, env Env) error
	// Port returns the configuration key and the value of the address of the health port.
	Port func(config.HealthConfig) (key, address string)
	// Commands are the other things the program can do, in the order -help lists them.
	Commands []Command
}

// Command is something a program does once instead of serving.
type Command struct {
	Name    string // a word, or a flag when it begins with "-"
	Summary string
	Locked  bool // needs the database for itself, like the daemon
	Run     func(ctx context.Context, env Env) error
}

// Env is what a program gets to work with.
type Env struct {
	Config  config.Config
	File    string // the configuration's, "" = these are the defaults
	Log     *slog.Logger
	Secrets *logx.Secrets // whatever is added here never shows in Log, Stdout and Stderr
	Args    []string      // behind the command's name
	Stdout  io.Writer     // makes everything printable, as Stderr does
	Stderr  io.Writer
	Lock    *lock.Lock // nil = the command has none; whoever works for long watches it
}

// UsageError is an error that ends the program with ExitUsage.
type UsageError struct{ Text string }

func (e *UsageError) Error() string { return e.Text }

// ErrSilent ends the program with ExitFailure; the error has been printed already.
var ErrSilent = errors.New("failed")

// Main runs the program and returns its exit code. Whatever the program writes passes through
// human.Output or logx, so that no text of others reaches a terminal as it is, nor a known secret.
func (p Program) Main(args []string, out, errs io.Writer) int {
	secrets := new(logx.Secrets)
	stdout, stderr := human.Output(out, secrets.Redact), human.Output(errs, secrets.Redact)
	opt, err := p.parse(args, stdout)
	if errors.Is(err, flag.ErrHelp) {
		return ExitOK
	}
	if err != nil {
		fmt.Fprintf(stderr, "%s: %v\nTry '%s -help'.\n", p.Name, err, p.Name)
		return ExitUsage
	}
	switch {
	case opt.version:
		fmt.Fprintln(stdout, buildinfo.String(p.Name))
		return ExitOK
	case opt.printConfig:
		if _, err := stdout.Write(config.DefaultYAML()); err != nil {
			fmt.Fprintf(stderr, "%s: print the defaults: %v\n", p.Name, err)
			return ExitFailure
		}
		return ExitOK
	}
	file := fileToRead(opt.config, config.Packaged)
	cfg, err := config.Load(file)
	if err != nil {
		fmt.Fprintf(stderr, "%s: configuration:\n%v\n", p.Name, err)
		return ExitUsage
	}
	if opt.checkConfig {
		fmt.Fprintf(stdout, "%s: configuration is fine: %s\n", p.Name, cmp.Or(file, "the defaults"))
		return ExitOK
	}
	log, err := logx.New(secrets.Writer(errs), cfg.Logging.Level, cfg.Logging.Format)
	if err != nil {
		fmt.Fprintf(stderr, "%s: %v\n", p.Name, err)
		return ExitUsage
	}
	secrets.StandardLog(log)
	owner, err := becomeOwner(cfg.Storage.Path)
	if err != nil {
		fmt.Fprintf(stderr, "%s: %v\n", p.Name, err)
		return ExitFailure
	}
	if owner != "" && opt.command == nil {
		log.Info("started by root, running as the owner of the data directory", "user", owner)
	}
	env := Env{Config: cfg, File: file, Log: log, Secrets: secrets, Args: opt.args, Stdout: stdout, Stderr: stderr}
	limitHeap()
	return p.exitCode(env, p.work(env, opt.command))
}

// fileToRead is the configuration to read: the given one, else the packaged one where there
// is one. Commands without -config concern the configuration of this device.
func fileToRead(given, packaged string) string {
	if given != "" {
		return given
	}
	if _, err := os.Lstat(packaged); errors.Is(err, fs.ErrNotExist) {
		return ""
	}
	return packaged // any other fault is reported when it is read
}

// work serves or runs one command, with the lock where it is needed.
func (p Program) work(env Env, command *Command) (err error) {
	ctx, stop := run.Signals(context.Background())
	defer stop()
	defer context.AfterFunc(ctx, func() {
		env.Log.Info("stopping", "signal", run.SignalOf(ctx), "hint", "a second signal kills")
	})()
	if command == nil || command.Locked {
		useOneCore()
		relaxTimers()
	}
	// A panic anywhere in it is logged with its stack, and the lock is released.
	return run.Protect(ctx, p.Name, func(ctx context.Context) error {
		switch {
		case command == nil:
			return p.stopped(ctx, env, p.serve(ctx, env))
		case command.Locked:
			return p.locked(env, func(env Env) error { return command.Run(ctx, env) })
		}
		return command.Run(ctx, env)
	})
}

// serve works until ctx ends: it starts again after an error of the file, and waits while the file
// cannot be opened for a reason that passes.
func (p Program) serve(ctx context.Context, env Env) error {
	idle := standby{Program: p, env: env}
	for {
		err := p.locked(env, func(env Env) error { return p.Serve(ctx, env) })
		again, crash := (*againError)(nil), (*run.PanicError)(nil)
		switch {
		case ctx.Err() != nil, errors.As(err, &crash):
			return err
		case store.Waits(env.Config.Storage.Path, err):
			if err := idle.wait(ctx, err); err != nil || ctx.Err() != nil {
				return err
			}
		case errors.As(err, &again):
			env.Log.Error(p.Name+" stopped by a database error, starting again", logx.Err(err))
		default:
			return err
		}
	}
}

// locked calls work with the lock held. Each call takes the lock anew: it may have been removed
// together with the database.
func (p Program) locked(env Env, work func(Env) error) (err error) {
	if env.Lock, err = p.acquire(env); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, env.Lock.Release()) }()
	return work(env)
}

// acquire makes the directory and takes the lock of this program.
func (p Program) acquire(env Env) (*lock.Lock, error) {
	if err := store.MakeFolder(env.Config.Storage.Path); err != nil {
		return nil, err
	}
	held, err := lock.Acquire(env.Config.Storage.Path + "." + p.Name + ".lock")
	if err != nil {
		return nil, store.ExplainAccess(env.Config.Storage.Path, err)
	}
	return held, nil
}

// Again is called by Serve with the error that ended its work, before it closes everything. One of
// the file makes Serve run again from its start, with all checks of a start; after any other
// systemd is told that the daemon stops.
func Again(ctx context.Context, err error) error {
	if store.ClassOf(err) != store.OfFile || ctx.Err() != nil {
		_ = sdnotify.Stopping() // without it systemd detects the end of the process
		return err
	}
	return &againError{err}
}

type againError struct{ error }

func (e *againError) Unwrap() error { return e.error }

// stopped ignores the error of a daemon that was stopped while it was starting.
func (p Program) stopped(ctx context.Context, env Env, err error) error {
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		env.Log.Info(p.Name+" stopped during its start", logx.Err(err))
		return nil
	}
	return err
}

func (p Program) exitCode(env Env, err error) int {
	if err == nil {
		return ExitOK
	}
	if usage, ok := errors.AsType[*UsageError](err); ok {
		fmt.Fprintf(env.Stderr, "%s: %v\n", p.Name, usage)
		return ExitUsage
	}
	if errors.Is(err, ErrSilent) {
		return ExitFailure
	}
	args := []any{logx.Err(err)}
	if crash, ok := errors.AsType[*run.PanicError](err); ok {
		args = append(args, logx.KeyStack, string(crash.Stack))
	}
	env.Log.Error(p.Name+" stopped by an error", args...)
	return ExitFailure
}

type options struct {
	config                            string
	version, printConfig, checkConfig bool
	command                           *Command
	args                              []string
}

// parse reads flags and the command's name. Flags may stand before and behind
// the name, because people type them in both places.
func (p Program) parse(args []string, help io.Writer) (options, error) {
	var opt options
	fs := flag.NewFlagSet(p.Name, flag.ContinueOnError)
	fs.SetOutput(io.Discard) // errors are printed once, by Main
	fs.StringVar(&opt.config, "config", "", "")
	fs.BoolVar(&opt.checkConfig, "check-config", false, "")
	fs.BoolVar(&opt.printConfig, "print-config", false, "")
	fs.BoolVar(&opt.version, "version", false, "")
	for i := range p.Commands {
		if flagName, isFlag := strings.CutPrefix(p.Commands[i].Name, "-"); isFlag {
			fs.BoolFunc(flagName, "", func(value string) error {
				on, err := strconv.ParseBool(value)
				if on {
					opt.command = &p.Commands[i]
				}
				return err
			})
		}
	}
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			p.usage(help)
		}
		return opt, err
	}
	if fs.NArg() == 0 {
		return opt, nil
	}
	name := fs.Arg(0)
	i := slices.IndexFunc(p.Commands, func(c Command) bool { return c.Name == name })
	if i < 0 || strings.HasPrefix(name, "-") {
		return opt, fmt.Errorf("unknown command %q", name)
	}
	opt.command = &p.Commands[i]
	opt.args = fs.Args()[1:]
	// "-config" behind the command's name means the same as in front of it.
	for i, a := range opt.args {
		name, value, joined := strings.Cut(strings.TrimLeft(a, "-"), "=")
		if name != "config" || !strings.HasPrefix(a, "-") {
			continue
		}
		end := i + 1
		if !joined {
			if end == len(opt.args) {
				return opt, errors.New("flag needs an argument: -config")
			}
			value = opt.args[end]
			end++
		}
		opt.config = value
		opt.args = slices.Delete(slices.Clone(opt.args), i, end)
		break
	}
	return opt, nil
}

func (p Program) usage(w io.Writer) {
	fmt.Fprintf(w, "%s - %s\n\nUsage:\n", p.Name, p.Summary)
	lines := [][2]string{{"[-config FILE]", "run until SIGTERM or SIGINT; a second signal kills"}}
	for _, c := range p.Commands {
		lines = append(lines, [2]string{"[-config FILE] " + c.Name, c.Summary})
	}
	lines = append(lines,
		[2]string{"[-config FILE] -check-config", "check the configuration and exit: 0 no fault, 2 faults, each with line and key"},
		[2]string{"-print-config", "print the default configuration with comments"},
		[2]string{"-version", "print the version and the build"})
	for _, l := range lines {
		fmt.Fprintf(w, "  %s %-28s %s\n", p.Name, l[0], l[1])
	}
	fmt.Fprintf(w, "\nThe default of -config is %s; if it does not exist, the built-in defaults apply.\n", config.Packaged)
	fmt.Fprintf(w, "Exit codes: 0 success, 1 failure, 2 wrong usage or configuration.\n")
}
