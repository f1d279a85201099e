package migrations

import (
	"crypto/sha256"
	"encoding/hex"
	"testing"
)

// landed has the SHA-256 of every file that a released or merged state of the
// project has run on somebody's database. Such a file never changes again: what
// it got wrong is mended by a new one with the next number. Add the new file's
// line here with the commit that brings it.
var landed = map[string]string{}

func TestLanded_NeverChange(t *testing.T) {
	t.Parallel()
	all := map[string]bool{}
	for _, m := range All() {
		all[m.Name] = true
		sum := sha256.Sum256([]byte(m.SQL))
		got := hex.EncodeToString(sum[:])
		switch want := landed[m.Name]; want {
		case got:
		case "":
			t.Errorf("%s is new: add its hash %s", m.Name, got)
		default:
			t.Errorf("%s has changed: hash %s, landed as %s; write a new migration instead", m.Name, got, want)
		}
	}
	for name := range landed {
		if !all[name] {
			t.Errorf("%s has landed and is gone", name)
		}
	}
}
