package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strconv"
	"text/tabwriter"
	"time"

	"belabox-metrics/shared/human"
	"belabox-metrics/shared/store"
)

// deadLetterPrinter writes dead letters as they are read.
type deadLetterPrinter interface {
	add(l store.DeadLetter) error
	end(shown int, counts map[string]int64, reason string) error
}

// deadLetterTable writes a table.
type deadLetterTable struct {
	w     io.Writer
	table *tabwriter.Writer
}

func (t *deadLetterTable) add(l store.DeadLetter) error {
	if t.table == nil {
		t.table = tabwriter.NewWriter(t.w, 0, 0, 2, ' ', 0)
		fmt.Fprintln(t.table, "ID\tWHEN (UTC)\tDEVICE\tMETRIC\tTAGS\tVALUE\tREASON\tDETAIL")
	}
	when := time.UnixMilli(l.TimestampMS).UTC().Format("2006-01-02 15:04:05.000")
	_, err := fmt.Fprintf(t.table, "%d\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", l.ID, when, human.Excerpt(l.Device), human.Excerpt(l.Name),
		human.Excerpt(l.Tags), human.Excerpt(deadLetterValue(l)), human.Excerpt(l.Reason), human.Excerpt(l.Detail))
	return err
}

func (t *deadLetterTable) end(shown int, counts map[string]int64, reason string) error {
	var all int64
	for r, n := range counts {
		if reason == "" || r == reason {
			all += n
		}
	}
	if t.table == nil {
		_, err := fmt.Fprintln(t.w, "no dead letters")
		return err
	}
	if err := t.table.Flush(); err != nil {
		return err
	}
	if int64(shown) < all {
		fmt.Fprintf(t.w, "\n%d of %d shown, -limit 0 shows all", shown, all)
	}
	_, err := fmt.Fprintf(t.w, "\ntotal: %s\n", reasons(counts, "none"))
	return err
}

func deadLetterValue(l store.DeadLetter) string {
	switch {
	case l.Value.Valid:
		return strconv.FormatFloat(l.Value.Float64, 'g', -1, 64)
	case l.Text != "":
		return strconv.Quote(l.Text)
	}
	return "-"
}

// deadLetterArray writes a JSON array.
type deadLetterArray struct {
	w     io.Writer
	begun bool
}

func (a *deadLetterArray) add(l store.DeadLetter) error {
	tags := json.RawMessage(l.Tags)
	if !json.Valid(tags) {
		tags, _ = json.Marshal(l.Tags) // a string always encodes
	}
	var value any
	switch f := l.Value.Float64; {
	case l.Value.Valid && (math.IsInf(f, 0) || math.IsNaN(f)):
		value = deadLetterValue(l) // JSON has no number for it
	case l.Value.Valid:
		value = f
	}
	text, err := json.Marshal(struct {
		ID      int64           `json:"id"`
		MS      int64           `json:"timestamp_ms"`
		Device  string          `json:"device_id"`
		Metric  string          `json:"metric"`
		Tags    json.RawMessage `json:"tags"`
		Value   any             `json:"value"`
		Text    string          `json:"text,omitempty"`
		Reason  string          `json:"reason"`
		Detail  string          `json:"detail"`
		Created time.Time       `json:"created"`
	}{l.ID, l.TimestampMS, l.Device, l.Name, tags, value, l.Text, l.Reason, l.Detail, l.Created})
	if err != nil {
		return err
	}
	before := ",\n "
	if !a.begun {
		a.begun, before = true, "[\n "
	}
	_, err = fmt.Fprintf(a.w, "%s%s", before, text)
	return err
}

func (a *deadLetterArray) end(int, map[string]int64, string) error {
	text := "\n]\n"
	if !a.begun {
		text = "[]\n"
	}
	_, err := io.WriteString(a.w, text)
	return err
}
