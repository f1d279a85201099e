//go:build !linux

package daemon

import "context"

// spareProgramPages does nothing here: it is Linux that tells what is mapped.
func spareProgramPages(context.Context) {}
