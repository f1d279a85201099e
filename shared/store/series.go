package store

// ValueType says what a series holds. It is part of the identity of a series,
// so a metric that changes from number to text becomes another series.
type ValueType int

const (
	Number ValueType = 0 // a float64; shipped
	Text   ValueType = 1 // a string; stored, never shipped
)

// Tag is one label of a series.
type Tag struct{ Name, Value string }

// Series is the identity of a time series: device, name, tags and value type.
// Make one with NewSeries, keep it, and use the same pointer for every sample:
// the Inserter remembers the row id in it. A Series belongs to one Inserter
// and must not be used by two goroutines at once.
type Series struct {
	Device string
	Name   string // with dots, as in the catalogue: "cpu.usage_percent"
	Tags   string // canonical JSON object, made by CanonicalTags
	Type   ValueType

	id    int64 // row id in table series; 0 = not looked up yet
	round int   // Inserter.round at that time
}

// NewSeries makes the identity of a series. The order of tags does not matter;
// of two tags with one name the last wins.
func NewSeries(device, name string, typ ValueType, tags ...Tag) *Series {
	return &Series{Device: device, Name: name, Tags: CanonicalTags(tags), Type: typ}
}

// Sample is one value of a series. All samples of one insert share a timestamp.
type Sample struct {
	Series *Series
	Value  float64 // Number series; NaN and infinities are refused, see Inserter.Insert
	Text   string  // Text series
}
