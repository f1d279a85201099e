package doctor

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"time"

	"github.com/klauspost/compress/gzip"

	"belabox-metrics/shared/config"
	"belabox-metrics/shared/human"
	"belabox-metrics/shared/jsonline"
	"belabox-metrics/shared/store"
	"belabox-metrics/shipperd/internal/victoria"
)

const (
	// defaultProbeWait is the pause before the probe is read: VictoriaMetrics shows samples after 1
	// to 3 s, and repeats an early "nothing" for 11 s.
	defaultProbeWait = 15 * time.Second
	probeReads       = 2
	// probeApart is the distance of the probe's two timestamps.
	probeApart = time.Minute
)

// duplicates writes two samples of a series of its own, the first in one import and the second in
// two identical ones, and reads how often the server shows each. Proxies repeat imports, and
// replication copies samples: only the deduplication of the server hides such copies.
func (d *doctor) duplicates(ctx context.Context) Check {
	if !d.readable {
		return unknown("not checked: the server cannot be read")
	}
	device := config.ResolveDeviceID(d.Config, os.ReadFile, os.Hostname)
	labels := jsonline.Canonical(map[string]string{"__name__": victoria.ProbeMetric, "device_id": device})
	twice := d.Now().UnixMilli()
	once := twice - probeApart.Milliseconds()
	for i, ms := range []int64{once, twice, twice} {
		body, err := zipped(jsonline.Append(nil, labels, []int64{ms}, []float64{1}))
		if err == nil {
			_, err = d.Client.Import(ctx, body, fmt.Sprintf("doctor-%d/%d", twice, i))
		}
		if err != nil {
			return unknown("not checked: the probe was not accepted: " + err.Error())
		}
	}
	wait := d.ProbeWait
	if wait == 0 {
		wait = defaultProbeWait
	}
	copies := map[int64]int{}
	for range probeReads {
		if d.Note != nil {
			d.Note("waiting " + human.Duration(wait) + " until the server shows the probe series")
		}
		select {
		case <-ctx.Done():
			return unknown("not checked: " + ctx.Err().Error())
		case <-time.After(wait):
		}
		clear(copies)
		sel := victoria.Selector{DeviceID: device, Names: []string{victoria.ProbeMetric}}
		err := d.Client.Export(ctx, sel, once, twice, func(_ []store.Tag, timestamps []int64) error {
			for _, ms := range timestamps {
				copies[ms]++
			}
			return nil
		})
		if err != nil {
			return unknown("not checked: " + err.Error())
		}
		if copies[twice] > 1 {
			break // one copy may show before the other
		}
	}
	const fix = "start the server (vmselect and vmstorage of a cluster) with -" + flagDedup + "=1ms"
	switch {
	case copies[twice] == 0:
		return warn("the server accepted the probe series and does not show it", "see the checks read-back and last chunk")
	case copies[once] > 1:
		return warn(fmt.Sprintf("the server shows a sample that was sent once %d times: a proxy repeats imports, or the cluster replicates", copies[once]),
			fix+"; of vmauth, set -requestBufferSize=0 -maxRequestBodySizeToRetry=0")
	case copies[twice] > 1:
		return warn("the server shows a sample that was sent twice "+fmt.Sprint(copies[twice])+" times: it does not deduplicate",
			fix+" if a proxy repeats imports or the cluster replicates; shipperd itself sends nothing twice")
	}
	return ok("the server shows one copy of a sample that was sent twice")
}

func zipped(text []byte) ([]byte, error) {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write(text); err != nil {
		return nil, err
	}
	err := w.Close()
	return b.Bytes(), err
}
