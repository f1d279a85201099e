package doctor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"belabox-metrics/shared/human"
	"belabox-metrics/shared/store"
	"belabox-metrics/shipperd/internal/chunk"
	"belabox-metrics/shipperd/internal/victoria"
)

const (
	// visibleAfter is how long ago a chunk must have been accepted before its absence means
	// anything: VictoriaMetrics shows samples after 1 to 3 s, and repeats an early "nothing" for 11
	// s.
	visibleAfter = 30 * time.Second
	// queuedAfter is when samples that are not visible yet become a failure, as for the condition
	// not_visible.
	queuedAfter = 2 * time.Minute
	// lookedFor is how many samples of the chunk are queried, one at a time.
	lookedFor = 5
	// showedBefore is how long before the chunk other samples of the same series are looked for.
	showedBefore = 10 * time.Minute
	// maxLines bounds an answer about all devices, in series.
	maxLines = 1000
	// maxOthers is how many other ids are named.
	maxOthers = 3
)

// sent is a sample as it was sent.
type sent struct {
	labels []store.Tag
	ms     int64
}

func (s sent) name() string   { return label(s.labels, "__name__") }
func (s sent) device() string { return label(s.labels, "device_id") }

func label(labels []store.Tag, name string) string {
	i := slices.IndexFunc(labels, func(l store.Tag) bool { return l.Name == name })
	if i < 0 {
		return ""
	}
	return labels[i].Value
}

// lastChunk looks at the server for samples of the chunk that was accepted last. If none of them
// shows, it looks for the cause.
func (d *doctor) lastChunk(ctx context.Context) Check {
	switch {
	case !d.Config.Remote.Verify.Enabled:
		return unknown("not checked: remote.verify.enabled is false")
	case !d.readable:
		return unknown("not checked: the server cannot be read")
	}
	file, err := d.open(ctx)
	if err != nil {
		return unknown(notOpen)
	}
	_, now, err := d.times(ctx, file)
	if err != nil {
		return unknown(err.Error())
	}
	c, err := file.AcceptedBefore(ctx, now.Add(-visibleAfter))
	if err != nil {
		return unknown(err.Error())
	}
	if c == nil {
		return ok("none was accepted more than " + human.Duration(visibleAfter) + " ago")
	}
	samples, err := d.samplesOf(ctx, file, c)
	if err != nil {
		return unknown(err.Error())
	}
	if len(samples) == 0 {
		return unknown("its rows are no longer in the file, or their timestamps were moved")
	}
	age := now.Sub(c.Accepted)
	found := 0
	for _, s := range samples {
		shown, err := d.shows(ctx, s)
		if err != nil {
			return unreadable(err)
		}
		if shown {
			found++
		}
	}
	if found > 0 {
		return ok(fmt.Sprintf("the server shows %d of %s of the chunk that it accepted %s ago", found, human.Plural(len(samples), "sample"), human.Duration(age)))
	}
	return d.notShown(ctx, samples, age)
}

// samplesOf returns a few samples of a chunk, spread over its rows. Rows whose timestamp was moved
// are left out.
func (d *doctor) samplesOf(ctx context.Context, file *store.Reader, c *store.Chunk) (few []sent, err error) {
	rows, err := file.Rows(ctx, c.Keys)
	if err != nil {
		return nil, err
	}
	t, _, err := d.times(ctx, file)
	if err != nil {
		return nil, err
	}
	oldest, newest := c.Created.Add(-d.Config.Remote.MaxPast).UnixMilli(), c.Created.Add(d.Config.Remote.MaxFuture).UnixMilli()
	rows = slices.DeleteFunc(rows, func(r store.Row) bool {
		ms := t.MS(r.Key)
		return r.Null || ms < oldest || ms > newest
	})
	for i := range min(lookedFor, len(rows)) {
		key := rows[i*len(rows)/min(lookedFor, len(rows))].Key
		info, err := file.Series(ctx, key.SeriesID())
		if err != nil {
			return nil, err
		}
		few = append(few, sent{chunk.Labels(info), t.MS(key)})
	}
	return few, nil
}

// shows reports whether the server has a sample. It may have more labels than were sent.
func (d *doctor) shows(ctx context.Context, s sent) (shown bool, err error) {
	sel := victoria.Selector{DeviceID: s.device(), Names: []string{s.name()}}
	err = d.Client.Export(ctx, sel, s.ms, s.ms, func(labels []store.Tag, _ []int64) error {
		missing := func(l store.Tag) bool { return label(labels, l.Name) != l.Value }
		shown = shown || !slices.ContainsFunc(s.labels, missing)
		return nil
	})
	return shown, err
}

var errEnough = errors.New("enough lines")

// otherDevices returns the ids of other devices under which the server shows all of these samples,
// at most maxOthers; nil if there are more. Ticks are aligned to the wall clock, so each may be
// another device as well as this one under a changed label.
func (d *doctor) otherDevices(ctx context.Context, samples []sent) (ids []string, err error) {
	for i, s := range samples {
		sel := victoria.Selector{AnyDevice: true, Names: []string{s.name()}}
		for _, l := range s.labels {
			if l.Name != "__name__" && l.Name != "device_id" {
				sel.Labels = append(sel.Labels, l)
			}
		}
		var under []string
		err := d.Client.Export(ctx, sel, s.ms, s.ms, func(labels []store.Tag, _ []int64) error {
			if len(under) == maxLines {
				return errEnough
			}
			under = append(under, label(labels, "device_id"))
			return nil
		})
		if errors.Is(err, errEnough) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		if i == 0 {
			slices.Sort(under)
			ids = slices.Compact(under)
		}
		ids = slices.DeleteFunc(ids, func(id string) bool { return id == samples[0].device() || !slices.Contains(under, id) })
		if len(ids) == 0 {
			break
		}
	}
	if len(ids) > maxOthers {
		return nil, nil
	}
	return ids, nil
}

// newestShown returns the timestamp of the newest sample that the server shows of the device and
// the metrics of samples, 0 = none.
func (d *doctor) newestShown(ctx context.Context, samples []sent) (newest int64, err error) {
	sel := victoria.Selector{DeviceID: samples[0].device()}
	from := samples[0].ms
	for _, s := range samples {
		if s.device() == sel.DeviceID && !slices.Contains(sel.Names, s.name()) {
			sel.Names = append(sel.Names, s.name())
		}
		from = min(from, s.ms)
	}
	err = d.Client.Export(ctx, sel, from-showedBefore.Milliseconds(), max(from, d.Now().UnixMilli()), func(_ []store.Tag, timestamps []int64) error {
		newest = max(newest, slices.Max(timestamps))
		return nil
	})
	return newest, err
}

// notShown names the likely causes why the server shows none of these samples, which it accepted so
// long ago.
func (d *doctor) notShown(ctx context.Context, samples []sent, age time.Duration) Check {
	detail := fmt.Sprintf("the server shows none of %s of the chunk that it accepted %s ago", human.Plural(len(samples), "sample"), human.Duration(age))
	newest, err := d.newestShown(ctx, samples)
	if err != nil {
		return unreadable(err)
	}
	if slices.ContainsFunc(samples, func(s sent) bool { return newest <= s.ms }) {
		return d.nothingNewer(ctx, samples, newest, age, detail)
	}
	return fail(detail+", but newer ones of the same metrics",
		"check whether a rule changes a label (-relabelConfig), whether the server drops samples (-retentionPeriod, -dedup.minScrapeInterval, vm_rows_ignored_total on its /metrics) "+
			"or was killed; shipperd sends again what is lost")
}

// nothingNewer is notShown where the newest sample that shows is older than these, or none shows
// (0).
func (d *doctor) nothingNewer(ctx context.Context, samples []sent, newest int64, age time.Duration, detail string) (c Check) {
	switch {
	case newest == 0:
		c = fail(detail+", and no other of the same metrics",
			"check that remote.verify.url reads the tenant that remote.url writes, that no filter hides the series (extra_filters of a proxy), "+
				"that no rule renames a label (extra_label, -relabelConfig), and that no proxy such as vmagent holds a queue; until then nothing counts as delivered")
	case age < queuedAfter:
		c = warn(detail+", and of the same metrics nothing newer than "+human.Time(time.UnixMilli(newest)),
			"run this again in two minutes: a proxy may deliver the samples later")
	default:
		c = fail(detail+", and of the same metrics nothing newer than "+human.Time(time.UnixMilli(newest)),
			"look for a proxy that queues (vmagent) or a storage node that does not answer; then check whether the tenant, a filter (extra_filters) "+
				"or a label (extra_label) was changed since; nothing is sent again, and samples count as delivered when they show")
	}
	others, err := d.otherDevices(ctx, samples)
	if err != nil {
		return unreadable(err)
	}
	if len(others) > 0 {
		c.Detail += fmt.Sprintf("; it shows samples of the same metrics and times under device_id %q", others)
		c.Fix = fmt.Sprintf("unless %q is another device, label device_id is renamed: remove the rule that changes it (extra_label of a proxy, -relabelConfig of the server), "+
			"or let it set %q; otherwise ", others, samples[0].device()) + c.Fix
	}
	return c
}

// unreadable is the result of a check whose read failed.
func unreadable(err error) Check {
	const until = "; until then nothing counts as delivered"
	fault, known := errors.AsType[*victoria.Error](err)
	switch {
	case known && fault.Evidence() == victoria.Refused:
		return fail("reads are refused: "+err.Error(),
			"give the credentials read access, route /api/v1/export to the server, or set remote.verify.url to the address that ends in /api/v1/export"+until)
	case known && fault.Evidence() == victoria.NotOurServer:
		return fail("reads are not answered by the server: "+err.Error(),
			"log in if the network has a login page, or set remote.verify.url to the address that ends in /api/v1/export"+until)
	}
	return fail("reads fail: "+err.Error(), "see the log of the server"+until)
}
