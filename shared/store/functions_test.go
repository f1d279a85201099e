package store

import (
	"testing"
)

// TestFunctions_Fixed has results that were computed outside this program. The
// migrations store what these functions return, so they can never change.
func TestFunctions_Fixed(t *testing.T) {
	t.Parallel()
	db := rawDB(t, newPath(t))
	f := func(expression, want string) {
		t.Helper()
		var got string
		if err := db.QueryRow("SELECT " + expression).Scan(&got); err != nil || got != want {
			t.Errorf("%s:\ngot  %s, %v\nwant %s", expression, got, err, want)
		}
	}
	f(`bx_dedup_key_v2('box-1', 'cpu.usage_percent', '{"b":"2","a":1}', 1700000000000)`, "542b94ac85836ac0761846e8d02a792d1e3ef2c4397ca6399e5cff55615660ca")
	f(`bx_dedup_key_v2('box-1', 'cpu.usage_percent', NULL, 1.5)`, "7d75bb1cfb91ff2504d45ed722c1d90d85e95e0a06fadbffa572f55e94ffdbef")
	const v5 = "446ef7e055a74386277b1cced1e014110556e4dc485bba22d777a0be6e2c052f"
	f(`bx_dedup_key_v5('box-1', 'cpu.usage_percent', '{"b":"2","a":"1"}', 1700000000000, 0)`, v5)
	f(`bx_dedup_key_v5('box-1', 'cpu.usage_percent', '{"a":1, "b":"2"}', 1700000000000, 0)`, v5)
	f(`hex(bx_series_key('box-1', 'cpu.usage_percent', '{"core":"0"}', 0))`, "D744176E734475C2B6FC00FD0FE7D2BE483CBF82F88F6EFDA3CBD6F5727F3981")
	f(`hex(bx_series_key('box-1', 'cpu.usage_percent', '{ "core" : 0 }', 1))`, "E82C8BA48DCF79F3833F5C26701EAB3F23898BF4C3871D114201CC6CF8BBDBD5")
	f(`hex(bx_series_key('', '', NULL, 0))`, "C9904F855000B29639ED8D062D6AFE5CE3F92D8802C6F9A31531E69D4E022029")
}

func TestFunctions_CanonicalTags(t *testing.T) {
	t.Parallel()
	db := rawDB(t, newPath(t))
	f := func(tags any, want string) {
		t.Helper()
		var got string
		if err := db.QueryRow("SELECT bx_canonical_tags(?)", tags).Scan(&got); err != nil || got != want {
			t.Errorf("%#v: got %s, %v, want %s", tags, got, err, want)
		}
	}
	f(nil, `{}`)
	f(``, `{}`)
	f(" \n", `{}`)
	f(`null`, `{}`)
	f(` null `, `{}`)
	f(`{}`, `{}`)
	f(`{ "b": "2", "a": 1.50 }`, `{"a":"1.50","b":"2"}`)
	f([]byte(`{"b":"2","a":"1"}`), `{"a":"1","b":"2"}`)
	f(int64(7), `{"invalid_tags":"7"}`)
	f(2.5, `{"invalid_tags":"2.5"}`)
	f(`core=0`, `{"invalid_tags":"core=0"}`)
	f(`["a"]`, `{"invalid_tags":"[\"a\"]"}`)
	f(`{"a":"1"`, `{"invalid_tags":"{\"a\":\"1\""}`)
}
