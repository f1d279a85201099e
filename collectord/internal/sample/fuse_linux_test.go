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
)

// kernelTree is a FUSE file system that fails and hangs as sysfs and network
// file systems do, so that a test meets the real errors of the real kernel. A
// child process serves it: the kernel keeps a thread that waits for an answer
// until the server is gone, so a test that served itself could not even be
// killed.
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
	spec, err := json.Marshal(k)
	if err != nil {
		t.Fatal(err)
	}
	dir = t.TempDir()
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), kernelTreeDir+"="+dir, kernelTreeSpec+"="+string(spec))
	stdin, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = stdin.Close() // the child unmounts and ends
		if err := child.Wait(); err != nil && ok {
			t.Errorf("server of the FUSE file system: %v", err)
		}
	})
	line, _ := bufio.NewReader(stdout).ReadString('\n')
	if line != "mounted\n" {
		t.Logf("NOT TRIED: mount of a FUSE file system: %s: the kernel's own errors were not tried, only fakes of them", line)
		return "", nil, false
	}
	return dir, sync.OnceFunc(func() {
		if _, err := io.WriteString(stdin, "release\n"); err != nil {
			t.Error(err)
		}
	}), true
}

const (
	kernelTreeDir  = "TEST_KERNEL_TREE_DIR"
	kernelTreeSpec = "TEST_KERNEL_TREE_SPEC"
)

// init makes the child process of mount a server instead of a test.
func init() {
	if dir := os.Getenv(kernelTreeDir); dir != "" {
		if err := serveKernelTree(dir, os.Getenv(kernelTreeSpec)); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		os.Exit(0)
	}
}

// serveKernelTree serves until its standard input ends, which it also does when
// the parent is killed.
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
	// The collector still holds files open: by force, and off the tree at once.
	return syscall.Unmount(dir, syscall.MNT_DETACH|syscall.MNT_FORCE)
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
