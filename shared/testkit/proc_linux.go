package testkit

import "syscall"

// childAttr makes the kernel kill the child when the test binary dies: a run that
// is killed, or ends by the time limit of "go test", runs no cleanup. The signal
// follows the thread that started the child; Go ends a thread only when a
// goroutine that is locked to it ends, which no helper here does.
func childAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
