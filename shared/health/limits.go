package health

import "belabox-metrics/shared/config"

// LimitsOf returns the thresholds that a configuration sets. Uploads cannot come more often than
// samples do.
func LimitsOf(c config.Config) Limits {
	return Limits{
		UploadInterval:  max(c.Remote.UploadInterval, c.Collection.Interval),
		DegradedPending: c.Health.DegradedThreshold,
		ErrorPending:    c.Health.ErrorThreshold,
		SkewWarnMS:      c.Monitoring.ClockSkewWarnThresholdMS,
		NoUploads:       !c.Remote.Enabled,
	}
}
