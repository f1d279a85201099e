package health

import (
	"slices"
	"testing"
	"time"

	"belabox-metrics/shared/config"
	"belabox-metrics/shared/metrics"
	"belabox-metrics/shared/store"
)

// TestUploader_Saved: what shipperd has saved says why its uploads fail, for three minutes.
func TestUploader_Saved(t *testing.T) {
	t.Parallel()
	const url = "https://metrics.example/api/v1/import"
	failing := func(code string, age time.Duration) store.Stat {
		return store.Stat{Name: metrics.UploadFailing.Name, Tags: `{"cause":"` + code + `"}`, Kind: "gauge", Value: 1, Updated: now.Add(-age)}
	}
	f := func(url string, want Cause, found string, stats ...store.Stat) {
		t.Helper()
		u := Uploader{}
		u.Saved(stats, url, now)
		var got []string
		for _, a := range u.Found {
			got = append(got, a.Code+": "+a.Message)
		}
		if u.Cause != want || found != "" && !slices.Equal(got, []string{found}) || found == "" && got != nil {
			t.Errorf("got %+v and %q, want %+v and %q", u.Cause, got, want, found)
		}
	}
	f(url, Cause{}, "")
	for _, c := range Causes() {
		f(url, c.Of("metrics.example"), "", failing(c.Code, time.Minute))
	}
	f(url, Cause{}, "", failing("other", 0))
	f(url, Cause{}, "", failing(CauseRefused.Code, 4*time.Minute), failing(NotVisible.Code, -4*time.Minute))
	f(url, Cause{}, "", store.Stat{Name: metrics.UploadFailing.Name, Tags: `{"cau`, Value: 1, Updated: now})
	f(url, Cause{}, "", store.Stat{Name: metrics.UploadFailing.Name, Tags: `{"cause":"` + CauseRefused.Code + `"}`, Kind: "gauge", Updated: now})
	f(url, Cause{}, "", store.Stat{Name: "link.interface", Tags: `{"interface":"refused"}`, Updated: now})
	// Without a server's address the default is used, where nothing listens.
	f(config.Default().Remote.URL, CauseUnset.Of("127.0.0.1"), "", failing(CauseRefused.Code, 0))
	f(config.Default().Remote.URL, CauseTimeout.Of("127.0.0.1"), "", failing(CauseTimeout.Code, 0))

	f(url, Cause{}, "not_visible: the server shows none of the samples that were sent", failing(NotVisible.Code, 0))
	f(url, Cause{}, "reads_refused: uploads cannot be read back, access refused", failing(ReadsRefused.Code, 0))
	f(url, Cause{}, "unread: uploads cannot be read back", failing(Unread.Code, 0))
	f(url, CauseTimeout.Of("metrics.example"), "not_kept: the server accepts samples and does not keep them", failing(NotKept.Code, 0), failing("timeout", 0))
}

// TestEvaluate_Nothing: a file without pending rows is why there is no upload. That collectord does
// not run says so itself.
func TestEvaluate_Nothing(t *testing.T) {
	t.Parallel()
	f := func(in Input, remedy string, want ...string) {
		t.Helper()
		got := Evaluate(in, defaults, now)
		if !slices.Equal(codes(got), want) || got.Conditions[0].Remedy != remedy {
			t.Errorf("got %+v, want %q and %q", got.Conditions, want, remedy)
		}
	}
	f(shipper(90*time.Second, 0), CauseNothing.Remedy, "upload_late")
	f(shipper(90*time.Second, 1), checkLink, "upload_late")
	for age, late := range map[time.Duration]string{90 * time.Second: "upload_late", time.Hour: "upload_overdue"} {
		away := shipper(age, 0)
		away.Storage.Found = []Active{CollectordAway.Active(now, "")}
		f(away, CollectordAway.Remedy, "collectord_away")
		away.Storage.Pending = 1
		f(away, checkLink, late, "collectord_away")
	}
	unread := shipper(90*time.Second, 0)
	unread.Storage.Found = []Active{DatabaseUnreadable.Active(now, "locked")}
	f(unread, DatabaseUnreadable.Remedy, "database_unreadable", "upload_late")
	if got := Evaluate(unread, defaults, now).Conditions[1]; got.Remedy != checkLink || got.Message != "no upload for 1 min, limit 1 min" {
		t.Errorf("rows that could not be counted: got %+v", got)
	}

	// That shipperd does not run is why rows wait.
	for _, pending := range []int64{5000, 10_001} {
		waits := Input{Storage: &Storage{Pending: pending, Found: []Active{ShipperdAway.Active(now, "")}}}
		f(waits, ShipperdAway.Remedy, "shipperd_away")
	}
}
