package store

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"belabox-metrics/shared/clock"
)

// DayTraffic is a row of table traffic: what shipperd's requests cost on the link on one day, in
// bytes of IP packets. Both are estimates.
type DayTraffic struct {
	Day            int64 // since 1970-01-01 UTC; 0 while no day is known yet
	Sent, Received int64 // at most maxTraffic
}

const (
	// trafficDays are kept: this month and the last, whatever day a month begins with.
	trafficDays = 62
	// What a killed process has not written down: less than trafficBytes, or what was counted after
	// the last transaction. Each booking writes a page more.
	trafficBytes = 16 << 10
	trafficEvery = 50 * time.Second
	// maxTraffic keeps a damaged number from making sums overflow.
	maxTraffic = 1 << 50
)

// DayOf returns the day of a time, as DayTraffic has it.
func DayOf(t time.Time) int64 { return t.Unix() / 86400 }

// Traffic returns what is recorded, by day.
func (f *file) Traffic(ctx context.Context) ([]DayTraffic, error) { return readTraffic(ctx, f.db) }

func readTraffic(ctx context.Context, q querier) ([]DayTraffic, error) {
	days, err := all(ctx, q, func(rows *sql.Rows) (d DayTraffic, err error) {
		err = rows.Scan(&d.Day, &d.Sent, &d.Received)
		d.Sent, d.Received = min(max(d.Sent, 0), maxTraffic), min(max(d.Received, 0), maxTraffic)
		return d, err
	}, "SELECT day, sent, received FROM traffic ORDER BY day")
	if err != nil {
		return nil, fmt.Errorf("read traffic: %w", err)
	}
	return days, nil
}

// trafficBook writes the traffic of this process down, guarded by the mutex of its writer.
type trafficBook struct {
	read           func() (sent, received int64) // since the process began
	sent, received int64                         // of these, what is booked
	at             time.Time                     // when, monotonic
	now            func() clock.Moment
}

// MeterTraffic has the bytes that read returns written down with the transactions that there are
// anyway, on the day of now. read returns the totals since the process began, which never go back.
func (ob *Outbox) MeterTraffic(read func() (sent, received int64), now func() clock.Moment) {
	ob.w.mu.Lock()
	defer ob.w.mu.Unlock()
	ob.traffic = trafficBook{read: read, now: now}
	ob.w.also = ob.traffic.book
}

// BookTraffic writes the traffic down that is not booked yet, as at the end of a run. Not synced.
func (ob *Outbox) BookTraffic(ctx context.Context) error {
	if ob.left {
		return nil
	}
	return ob.w.tx(ctx, unsynced, func(context.Context, execer) error {
		ob.traffic.at = time.Time{}
		return nil
	})
}

// book adds the new bytes to their day, in a transaction. done is to be called when that is
// committed.
func (b *trafficBook) book(ctx context.Context, tx execer) (done func(), err error) {
	sent, received := b.read()
	add := DayTraffic{Sent: sent - b.sent, Received: received - b.received}
	if add.Sent+add.Received == 0 || add.Sent+add.Received < trafficBytes && time.Since(b.at) < trafficEvery {
		return func() {}, nil
	}
	days, err := readTraffic(ctx, tx)
	if err != nil {
		return nil, err
	}
	t, err := readTimeline(ctx, tx)
	if err != nil {
		return nil, err
	}
	today, known := bookingDay(t, b.now(), days)
	add.Day = today
	for _, d := range days {
		// Days that are still to come, or none, were booked by a wrong clock, or without one.
		if d.Day == today || known && (d.Day > today || d.Day == 0) {
			add.Sent, add.Received = add.Sent+d.Sent, add.Received+d.Received
		}
	}
	if _, err := exec(ctx, tx, "INSERT OR REPLACE INTO traffic VALUES (?, ?, ?)", add.Day, min(add.Sent, maxTraffic), min(add.Received, maxTraffic)); err != nil {
		return nil, err
	}
	if known {
		if _, err := exec(ctx, tx, "DELETE FROM traffic WHERE day > ?1 OR day <= ?1 - ?2", today, trafficDays); err != nil {
			return nil, err
		}
	}
	return func() { b.sent, b.received, b.at = sent, received, time.Now() }, nil
}

// bookingDay returns the day to book into. While the true time is not known, that is the last day
// there is; and no earlier one where it never will be.
func bookingDay(t Timeline, at clock.Moment, days []DayTraffic) (day int64, known bool) {
	day = max(DayOf(t.Now(at)), 0)
	last := t[len(t)-1]
	switch here := last.Boot == at.BootID && at.BootID != ""; {
	case at.Sync == clock.Yes, here && (last.How == HowClock || last.How == HowKernel || last.How == HowServer):
		return day, true
	case !here || last.How != HowUnconfirmed:
		day = 0
	}
	if len(days) > 0 {
		day = max(day, days[len(days)-1].Day)
	}
	return day, false
}
