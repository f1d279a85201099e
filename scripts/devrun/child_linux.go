package main

import "syscall"

// childAttr gives the child a process group of its own and lets the kernel end it
// when devrun is killed. SIGTERM, so that the daemons still close their file.
func childAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
}
