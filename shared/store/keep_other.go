//go:build !linux

package store

// keepFromCheckpoint: the systems for developers have no such lock.
func keepFromCheckpoint(string) (release func(), err error) { return func() {}, nil }
