package gateway

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"belabox-metrics/docker/receiver/internal/upstream"
)

// BenchmarkImport sends gzip chunks over HTTP into a real store, each answered when it is synced: the steady chunk of a
// shipper (50 series, 3 samples each) and a catch-up chunk (50 series, 200 samples each).
func BenchmarkImport(b *testing.B) {
	for _, samples := range []int{3, 200} {
		b.Run(fmt.Sprintf("50x%d", samples), func(b *testing.B) {
			ts := start(b, nil)
			base := int64(1700000000000)
			b.ReportAllocs()
			var sent int64
			for b.Loop() {
				b.StopTimer()
				var text strings.Builder
				for i := range 50 {
					var values, times []string
					for k := range samples {
						values = append(values, fmt.Sprintf("%.2f", float64(i*k)*0.37))
						times = append(times, fmt.Sprint(base+int64(k)*1000))
					}
					fmt.Fprintf(&text, `{"metric":{"__name__":"metric_%d_bytes_total","device_id":"0123456789abcdef"},`+
						`"values":[%s],"timestamps":[%s]}`+"\n", i, strings.Join(values, ","), strings.Join(times, ","))
				}
				base += int64(samples) * 1000
				body := zip(b, text.String())
				sent += int64(len(body))
				b.StartTimer()
				if r := ts.postGzip(b, body); r.status != 200 {
					b.Fatal(r.status, r.body)
				}
			}
			total := float64(b.N * 50 * samples)
			b.ReportMetric(total/b.Elapsed().Seconds(), "samples/s")
			b.ReportMetric(float64(sent)/total, "wire-B/sample")
		})
	}
}

// BenchmarkImport_Parallel is many shippers at once: their transactions share syncs.
func BenchmarkImport_Parallel(b *testing.B) {
	ts := start(b, nil)
	var text strings.Builder
	for i := range 50 {
		text.WriteString(sample(fmt.Sprintf("m%d", i), 1, i))
	}
	body := zip(b, text.String())
	b.SetParallelism(16)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if r := ts.postGzip(b, body); r.status != 200 {
				b.Error(r.status, r.body)
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "chunks/s")
}

func BenchmarkExport(b *testing.B) {
	ts := start(b, nil)
	for i := range 100 {
		var text strings.Builder
		for k := range 100 {
			text.WriteString(sample(fmt.Sprintf("m%d", i), float64(k)*0.37, k*1000))
		}
		ts.post(b, text.String())
	}
	b.ReportAllocs()
	for b.Loop() {
		if got := strings.Count(ts.export(b, match(`{device_id="d"}`)), "\n"); got != 100 {
			b.Fatal(got)
		}
	}
	b.ReportMetric(float64(b.N)*10_000/b.Elapsed().Seconds(), "samples/s")
}

// BenchmarkPassOn is a gateway with tokens before an upstream that answers at once: what passing on costs, both ends of
// HTTP included.
func BenchmarkPassOn(b *testing.B) {
	for _, samples := range []int{3, 200} {
		b.Run(fmt.Sprintf("50x%d", samples), func(b *testing.B) {
			sink := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				w.WriteHeader(http.StatusNoContent)
			}))
			defer sink.Close()
			u, err := upstream.New(upstream.Config{URL: sink.URL + "/api/v1/import"})
			if err != nil {
				b.Fatal(err)
			}
			defer u.Close()
			ts := start(b, func(c *Config, _ *http.Server) {
				c.Tokens, c.Sink, c.Upstream, c.Limits = someTokens, u, u, Limits{Rate: 1e9, Burst: 1e9}
			})
			var text strings.Builder
			for i := range 50 {
				text.WriteString(lately("d", fmt.Sprintf("metric_%d_bytes_total", i), samples))
			}
			body := zip(b, text.String())
			header := http.Header{"Authorization": {"Bearer td"}, "Content-Encoding": {"gzip"}}
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if r := ts.do(b, "POST", "/api/v1/import", header, bytes.NewReader(body)); r.status != 200 {
						b.Error(r.status, r.body)
					}
				}
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "requests/s")
			b.ReportMetric(float64(b.N*50*samples)/b.Elapsed().Seconds(), "samples/s")
		})
	}
}
