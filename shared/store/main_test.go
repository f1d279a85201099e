package store

import (
	"context"
	"fmt"
	"os"
	"testing"

	"belabox-metrics/shared/testkit"
)

// A test starts this test binary again with these variables set to get another
// process on the same file.
const (
	jobVar  = "BELABOX_STORE_TEST_JOB"
	pathVar = "BELABOX_STORE_TEST_PATH"
	argVar  = "BELABOX_STORE_TEST_ARG"
)

// jobs are what such a process can do. An error goes to its standard error and
// makes it end with 1.
var jobs = map[string]func(path, arg string) error{
	"migrate-at-gate":  migrateAtGate,
	"migrate-paused":   migratePaused,
	"open-as-stranger": openAsStranger,
	"look-for-lock":    lookForLock,
	"insert-for":       insertFor,
	"insert-for-ever":  insertForEver,
	"fail-commit":      failCommit,
	"crash-in-salvage": crashInSalvage,
	"open-and-close":   openAndClose,
}

// background is the context of those processes.
var background = context.Background()

func TestMain(m *testing.M) {
	job := os.Getenv(jobVar)
	if job == "" {
		os.Exit(m.Run())
	}
	if err := jobs[job](os.Getenv(pathVar), os.Getenv(argVar)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// startJob starts another process that does a job on the file at path.
func startJob(t *testing.T, job, path, arg string) *testkit.Proc {
	t.Helper()
	self := testkit.Self(t)
	self.Env = []string{jobVar + "=" + job, pathVar + "=" + path, argVar + "=" + arg}
	return testkit.StartProc(t, self)
}
