package doctor

import (
	"context"

	"belabox-metrics/shared/health"
	"belabox-metrics/shared/link"
)

// link says what the uploads cost, which interface carries them, and whether that is sampled.
func (d *doctor) link(ctx context.Context) Check {
	file, err := d.open(ctx)
	if err != nil {
		return unknown(notOpen)
	}
	use, err := link.Read(ctx, file, d.Config.Remote)
	if err != nil {
		return unknown(err.Error())
	}
	detail, name := use.Line(), ""
	if d.Interface != nil {
		name = d.Interface()
	}
	if name == "" {
		stats, _ := file.Stats(ctx, "shipperd") // without them it is not known
		name = link.Interface(stats)
	}
	if text := link.Unsampled(d.Config.Network, name); text != "" {
		detail += "; " + text
	} else if name != "" {
		detail += "; via " + name
	}
	if !use.Lasts() {
		return warn(detail, health.LinkBudget.Remedy)
	}
	return ok(detail)
}
