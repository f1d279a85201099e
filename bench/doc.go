// Package bench measures the built programs as a user runs them, each beside an alternative
// program, in the same run on the same machine.
//
// It reports figures and never fails because a machine is slow. Every figure is printed beside its
// target and that of the alternative, because on a shared machine only the ratio is reliable. The
// functions and docs/benchmarks.md describe what each one measures. All of it has the build tag
// bench:
//
//	make bench
//	go test -tags bench ./bench -run '^$' -bench Drain -v
package bench
