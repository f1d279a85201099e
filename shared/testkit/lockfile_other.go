//go:build !unix

package testkit

// lockFile does not lock: the tests that start programs run on Unix only.
func lockFile(string) (unlock func(), err error) { return func() {}, nil }
