package daemon

import (
	"fmt"
	"os"
	"os/user"
	"strconv"
	"syscall"

	"belabox-metrics/shared/datafile"
)

// becomeOwner makes a process of root one of the user who owns the directory of the database, for
// good, and returns the name of that user; "" when nothing changed. With it no command of root
// leaves a file that the daemons cannot open, and a link in the directory leads no further than its
// owner can go.
func becomeOwner(path string) (name string, err error) {
	if os.Geteuid() != 0 {
		return "", nil
	}
	uid, gid, err := datafile.UserOf(path)
	if err != nil || uid == 0 {
		return "", nil // what is wrong with the directory shows when it is used
	}
	name = datafile.UserName(uid)
	groups := []int{}
	if u, err := user.LookupId(strconv.FormatUint(uint64(uid), 10)); err == nil {
		if own, err := strconv.ParseUint(u.Gid, 10, 32); err == nil {
			gid = uint32(own)
		}
		ids, _ := u.GroupIds() // without them it can read less
		for _, id := range ids {
			if n, err := strconv.Atoi(id); err == nil {
				groups = append(groups, n)
			}
		}
	} else if gid == 0 {
		gid = uid // a number without a user; the group of root stays with root
	}
	if err = syscall.Setgroups(groups); err == nil {
		if err = syscall.Setgid(int(gid)); err == nil {
			err = syscall.Setuid(int(uid))
		}
	}
	if err != nil {
		return "", fmt.Errorf("the data directory belongs to user %s, and root may not become that user here: %w; run this as user %s",
			name, err, name)
	}
	return name, nil
}
