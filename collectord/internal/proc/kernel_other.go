//go:build !linux

package proc

// Uname is not supported here.
func Uname() ([]string, error) { return nil, ErrNotSupported }

// Timex reads nothing here.
type Timex struct{}

// TimexNames is empty here.
var TimexNames []string

// Read is not supported here.
func (*Timex) Read() (values [9]float64, err error) { return values, ErrNotSupported }
