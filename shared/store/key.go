package store

// A row's key is its millisecond in the upper 41 bits and its series in the
// lower 22, so that rows sort by time, a (series, millisecond) exists once, and
// the key costs nothing beside the row: it is the row id.
const (
	seriesBits = 22

	// MaxSeries is how many series one file can tell apart.
	MaxSeries = 1<<seriesBits - 1
	// MaxTimestampMS is the last millisecond a key can hold, in September 2039.
	MaxTimestampMS = 1<<41 - 1
)

// Key identifies a sample in the file.
type Key int64

// PackKey returns the key of series id at ts, in milliseconds since 1970. ts
// must be in 0..MaxTimestampMS and id in 1..MaxSeries.
func PackKey(ts, id int64) Key { return Key(ts<<seriesBits | id) }

// TimestampMS returns the sample's time in milliseconds since 1970.
func (k Key) TimestampMS() int64 { return int64(k) >> seriesBits }

// SeriesID returns the row id in table series.
func (k Key) SeriesID() int64 { return int64(k) & MaxSeries }
