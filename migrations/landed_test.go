package migrations

import (
	"crypto/sha256"
	"encoding/hex"
	"testing"
)

// landed has the SHA-256 of every file that a released or merged state of the
// project has run on somebody's database. Such a file never changes again: what
// it got wrong is corrected by a new one with the next number. Add the new file's
// line here with the commit that brings it.
var landed = map[string]string{
	"0001_metrics.sql":           "2f74c908a8e798e7c5a418e860e8579e122befe64ad786a3b4e2b30f36f53982",
	"0002_upload.sql":            "6bc5e012ec1e1d91ae86f2a29e62360f5d22fcf95d4500c0a77519bf7760512e",
	"0003_daemon_stats.sql":      "f48db30ea0ed1b58ed3893888c89a8979ba7121c69a594d31e0ccc880e278f84",
	"0004_text_and_sessions.sql": "13a0cdd5b75a22f841b6070186bf0dd00bb7a96ce7d97f7780e054b0e6eb0b47",
	"0005_dedup_keys.sql":        "37bdfe30a5ded8e498a1eacb98d767df7bff5cc8a0de14e708c0acffe083d803",
	"0006_compact.sql":           "8a857960b3678930e821e90e6197b6213a6a54cb97fc20914adcc025b8445f4f",
	"0007_epochs.sql":            "f5de008ae16b4092b07d97062199a35082d7e964279413b9a648bdafa72cee90",
	"0008_traffic.sql":           "37dd38ee55ed020e796617055170afa9110184e7a76d54e64ab107976630cb2b",
}

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
