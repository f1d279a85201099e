package store

import (
	"crypto/sha256"
	"database/sql/driver"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"modernc.org/sqlite"
)

// seriesKey is the identity of a series: SHA-256 over device, name, canonical
// tags and value type, each preceded by its length so that no two series can
// run into one text.
func seriesKey(device, name, canonicalTags string, typ ValueType) [sha256.Size]byte {
	return identity(device, name, canonicalTags, fmt.Sprint(int(typ)))
}

func identity(parts ...string) (sum [sha256.Size]byte) {
	h := sha256.New()
	var n [8]byte
	for _, p := range parts {
		binary.BigEndian.PutUint64(n[:], uint64(len(p)))
		h.Write(n[:])
		io.WriteString(h, p) //nolint:errcheck // a hash takes everything
	}
	h.Sum(sum[:0])
	return sum
}

// canonicalizeTags brings the tags column of an old file into canonical form.
// What is no JSON object is kept whole, as a tag of its own: a row with odd tags
// is still a row.
func canonicalizeTags(text string) string {
	if strings.TrimSpace(text) == "" || text == "null" {
		return "{}"
	}
	tags, err := ParseTags(text)
	if err != nil {
		return CanonicalTags([]Tag{{"invalid_tags", text}})
	}
	return CanonicalTags(tags)
}

// The functions that the migrations call. They belong to the upgrade of old
// files: what they return must never change.
func init() {
	sqlite.MustRegisterDeterministicScalarFunction("bx_canonical_tags", 1,
		func(_ *sqlite.FunctionContext, a []driver.Value) (driver.Value, error) {
			return canonicalizeTags(text(a[0])), nil
		})
	sqlite.MustRegisterDeterministicScalarFunction("bx_dedup_key_v2", 4, // device, name, tags as they stand, timestamp
		func(_ *sqlite.FunctionContext, a []driver.Value) (driver.Value, error) {
			sum := sha256.Sum256([]byte(strings.Join([]string{text(a[0]), text(a[1]), text(a[2]), text(a[3])}, "|")))
			return hex.EncodeToString(sum[:]), nil
		})
	sqlite.MustRegisterDeterministicScalarFunction("bx_dedup_key_v5", 5, // device, name, tags, timestamp, value type
		func(_ *sqlite.FunctionContext, a []driver.Value) (driver.Value, error) {
			sum := identity(text(a[0]), text(a[1]), canonicalizeTags(text(a[2])), text(a[3]), text(a[4]))
			return hex.EncodeToString(sum[:]), nil
		})
	sqlite.MustRegisterDeterministicScalarFunction("bx_series_key", 4, // device, name, tags, value type
		func(_ *sqlite.FunctionContext, a []driver.Value) (driver.Value, error) {
			sum := identity(text(a[0]), text(a[1]), canonicalizeTags(text(a[2])), text(a[3]))
			return sum[:], nil
		})
}

// text renders an SQL value the way identities are hashed; NULL is "".
func text(v driver.Value) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	case []byte:
		return string(v)
	case time.Time:
		return v.UTC().Format(time.RFC3339Nano)
	case float64:
		b, err := json.Marshal(v)
		if err == nil {
			return string(b)
		}
	}
	return fmt.Sprint(v)
}
