package health

import "belabox-metrics/shared/config"

// LimitsOf returns the thresholds that a configuration sets.
func LimitsOf(c config.Config) Limits {
	return Limits{
		UploadInterval:  c.Remote.UploadInterval,
		DegradedPending: c.Health.DegradedThreshold,
		ErrorPending:    c.Health.ErrorThreshold,
		SkewWarnMS:      c.Monitoring.ClockSkewWarnThresholdMS,
		NoUploads:       !c.Remote.Enabled,
	}
}
