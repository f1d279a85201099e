package doctor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"belabox-metrics/shared/config"
	"belabox-metrics/shared/health"
	"belabox-metrics/shared/secret"
	"belabox-metrics/shipperd/internal/human"
)

// uploads asks the running shipperd how its last upload went. The doctor's own request
// has no samples, so it does not meet what a server minds in them, and it is made by
// another user: the daemon's own word counts more.
func (d *doctor) uploads(ctx context.Context) Check {
	c := Check{Name: "uploads", Status: Unknown}
	if !d.Config.Remote.Enabled || !d.shipperdRuns {
		c.Detail = "none are made: shipperd does not run, or is told not to"
		return c
	}
	up, err := askUploader(ctx, d.Config.Health)
	switch {
	case err != nil:
		c.Detail = "shipperd does not tell: " + err.Error()
	case up.Error != "":
		c.Status, c.Detail = Fail, "the last one failed: "+up.Error
		c.Fix = "mend what this names, where nothing above does; shipperd keeps the samples and tries again by itself within a minute or two"
	case up.LastUpload.IsZero():
		c.Status, c.Detail = OK, "none yet"
	default:
		c.Status, c.Detail = OK, "the last one went well "+human.Duration(d.Now().Sub(up.LastUpload))+" ago"
	}
	return c
}

// Bounds of the question to the daemon beside this program.
const (
	askFor   = 5 * time.Second
	maxState = 1 << 20 // bytes
)

// askUploader reads what /health of shipperd says of the uploads.
func askUploader(ctx context.Context, c config.HealthConfig) (up health.Uploader, err error) {
	ctx, cancel := context.WithTimeout(ctx, askFor)
	defer cancel()
	host, port, err := net.SplitHostPort(c.ShipperdListen)
	if err != nil {
		return up, err
	}
	if ip, err := netip.ParseAddr(host); host == "" || err == nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+net.JoinHostPort(host, port)+"/health", nil)
	if err != nil {
		return up, err
	}
	if c.AuthFile != "" {
		login, err := secret.ReadLine(c.AuthFile, secret.Owner)
		if err != nil {
			return up, fmt.Errorf("health.auth_file: %w", err)
		}
		user, password, _ := strings.Cut(login, ":")
		req.SetBasicAuth(user, password)
	}
	// No proxy stands between this machine and itself.
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(req)
	if err != nil {
		return up, err
	}
	defer res.Body.Close() //nolint:errcheck // it was read
	var state struct {
		Components struct {
			Uploader *struct {
				Facts health.Uploader `json:"facts"`
			} `json:"uploader"`
		} `json:"components"`
	}
	// An ill daemon answers 503, with its state.
	if err := json.NewDecoder(io.LimitReader(res.Body, maxState)).Decode(&state); err != nil {
		return up, fmt.Errorf("%s: %s: %w", req.URL, res.Status, err)
	}
	if state.Components.Uploader == nil {
		return up, errors.New(req.URL.String() + ": " + res.Status + ", without the state of the uploads")
	}
	return state.Components.Uploader.Facts, nil
}
