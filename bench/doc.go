// Package bench measures the built programs as a user runs them, each beside the
// program that people would run instead, in the same run on the same machine.
//
// It promises figures, not verdicts: nothing fails because a machine is slow, and
// every figure stands beside its target and its peer, because on a shared machine
// only the ratio means something. What each one measures stands at its function
// and in docs/benchmarks.md. All of it has the build tag bench:
//
//	make bench
//	go test -tags bench ./bench -run '^$' -bench Drain -v
package bench
