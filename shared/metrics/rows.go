package metrics

import "belabox-metrics/shared/store"

// Stats returns points as rows of table daemon_stats.
func Stats(points []Point) []store.Stat {
	stats := make([]store.Stat, len(points))
	for i, p := range points {
		stats[i] = store.Stat{Name: p.Name, Tags: store.CanonicalTags(p.Tags), Kind: string(p.Kind), Value: p.Value}
	}
	return stats
}

// LabelsIn returns the values of the label of a metric that has one, in the order of the rows.
func (m *Metric) LabelsIn(stats []store.Stat) (values []string) {
	for _, p := range FromStats(stats) {
		if p.Name == m.Name && len(p.Tags) == 1 {
			values = append(values, p.Tags[0].Value)
		}
	}
	return values
}

// FromStats is the inverse of Stats. A row whose tags are not a JSON object is left out.
func FromStats(stats []store.Stat) []Point {
	points := make([]Point, 0, len(stats))
	for _, s := range stats {
		tags, err := store.ParseTags(s.Tags)
		if err != nil {
			continue
		}
		points = append(points, Point{Name: s.Name, Kind: Kind(s.Kind), Tags: tags, Value: s.Value})
	}
	return points
}
