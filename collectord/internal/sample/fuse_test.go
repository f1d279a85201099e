// The FUSE library does not build for 32-bit systems.

//go:build linux && (amd64 || arm64)

package sample

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	fusefs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"belabox-metrics/shared/testkit"
)

// kernelTree is a FUSE file system that fails and hangs as sysfs and network
// file systems do, so that a test meets the real errors of the real kernel. A
// child process serves it, in a mount namespace of its own: nobody else on the
// machine sees it, and it is gone with the child. A test that served itself
// could not even be killed while it hangs.
type kernelTree struct {
	Files  map[string]kernelFile // by path
	Statfs *fuse.StatfsOut       // answered after the release; nil = at once, with nothing
}

// kernelFile says how the reading of a file ends.
type kernelFile struct {
	Text  string
	Errno syscall.Errno // instead of the text
	Hangs bool          // until the release
}

// mount mounts the tree until the test ends, and returns where and what releases
// all that hangs. It is not ok where a test cannot mount; the log then says why,
// and that the fakes, which are tried everywhere, are all the proof there is.
func (k *kernelTree) mount(t *testing.T) (dir string, release func(), ok bool) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root may mount: the kernel's own errors were not tried, only fakes of them")
	}
	dir, stdin, err := k.serve(t)
	if err != nil {
		t.Logf("NOT TRIED: a FUSE file system: %v: the kernel's own errors were not tried, only fakes of them", err)
		return "", nil, false
	}
	return dir, sync.OnceFunc(func() {
		if _, err := io.WriteString(stdin, "release\n"); err != nil {
			t.Error(err)
		}
	}), true
}

// serve starts the child, which serves until its standard input is closed.
func (k *kernelTree) serve(t *testing.T) (dir string, stdin io.Writer, err error) {
	spec, err := json.Marshal(k)
	if err != nil {
		return "", nil, err
	}
	dir = t.TempDir()
	self := testkit.Self(t)
	child := exec.Command(self.Path, self.Args...)
	child.Env = append(os.Environ(), kernelTreeDir+"="+dir, kernelTreeSpec+"="+string(spec))
	child.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	in, err := child.StdinPipe()
	if err != nil {
		return "", nil, err
	}
	out, err := child.StdoutPipe()
	if err != nil {
		return "", nil, err
	}
	if err := child.Start(); err != nil {
		return "", nil, err
	}
	t.Cleanup(func() {
		_ = in.Close()
		_ = child.Wait() // what it had to say stands in its answer below
	})
	answer, _ := bufio.NewReader(out).ReadString('\n')
	if answer != "mounted\n" {
		return "", nil, fmt.Errorf("server: %q", answer)
	}
	return fmt.Sprintf("/proc/%d/root%s", child.Process.Pid, dir), in, nil
}

const (
	kernelTreeDir  = "TEST_KERNEL_TREE_DIR"
	kernelTreeSpec = "TEST_KERNEL_TREE_SPEC"
)

// kernelTreeLifetime ends a child whose parent was killed while it hung: such a
// parent keeps the pipe open, and waits for an answer, until the child is gone.
const kernelTreeLifetime = 5 * time.Minute

// init makes the child process of serve a server instead of a test.
func init() {
	dir := os.Getenv(kernelTreeDir)
	if dir == "" {
		return
	}
	time.AfterFunc(kernelTreeLifetime, func() { os.Exit(1) })
	if err := serveKernelTree(dir, os.Getenv(kernelTreeSpec)); err != nil {
		fmt.Println(err)
	}
	os.Exit(0)
}

func serveKernelTree(dir, spec string) error {
	root := treeRoot{release: make(chan struct{})}
	if err := json.Unmarshal([]byte(spec), &root.kernelTree); err != nil {
		return err
	}
	none := time.Duration(0) // nothing is cached: each look goes through to the tree
	options := &fusefs.Options{EntryTimeout: &none, AttrTimeout: &none}
	options.DirectMountStrict = true
	options.FsName = "kernel-tree"
	if _, err := fusefs.Mount(dir, &root, options); err != nil {
		return err
	}
	fmt.Println("mounted")
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		close(root.release)
	}
	return nil
}

// treeRoot is the root folder of a kernelTree.
type treeRoot struct {
	fusefs.Inode
	kernelTree
	release chan struct{}
}

// OnAdd builds the tree.
func (r *treeRoot) OnAdd(ctx context.Context) {
	for name, file := range r.Files {
		parent := &r.Inode
		for folder := range strings.SplitSeq(path.Dir(name), "/") {
			child := parent.GetChild(folder)
			if child == nil {
				child = parent.NewPersistentInode(ctx, &fusefs.Inode{}, fusefs.StableAttr{Mode: syscall.S_IFDIR})
				parent.AddChild(folder, child, false)
			}
			parent = child
		}
		leaf := &treeFile{kernelFile: file, release: r.release}
		parent.AddChild(path.Base(name), parent.NewPersistentInode(ctx, leaf, fusefs.StableAttr{}), false)
	}
}

// Statfs answers statfs(2).
func (r *treeRoot) Statfs(_ context.Context, out *fuse.StatfsOut) syscall.Errno {
	if r.kernelTree.Statfs != nil {
		<-r.release
		*out = *r.kernelTree.Statfs
	}
	return 0
}

// treeFile is made anew for each read, as the files of /proc and /sys are.
type treeFile struct {
	fusefs.Inode
	kernelFile
	release chan struct{}
}

// Open lets every read through to Read.
func (f *treeFile) Open(context.Context, uint32) (fusefs.FileHandle, uint32, syscall.Errno) {
	return nil, fuse.FOPEN_DIRECT_IO, 0
}

// Read returns the whole text or an error.
func (f *treeFile) Read(_ context.Context, _ fusefs.FileHandle, dest []byte, offset int64) (fuse.ReadResult, syscall.Errno) {
	if f.Hangs {
		<-f.release
	}
	if f.Errno != 0 {
		return nil, f.Errno
	}
	text := f.Text[min(offset, int64(len(f.Text))):]
	return fuse.ReadResultData(dest[:copy(dest, text)]), 0
}
