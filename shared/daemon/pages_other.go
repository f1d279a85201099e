//go:build !linux

package daemon

import "context"

// releaseProgramPages does nothing: only Linux lists what is mapped.
func releaseProgramPages(context.Context) {}
