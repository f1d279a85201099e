package doctor

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"belabox-metrics/shared/config"
	"belabox-metrics/shared/health"
	"belabox-metrics/shared/human"
	"belabox-metrics/shared/probe"
	"belabox-metrics/shared/secret"
)

// uploads requests from the running shipperd the result of its last upload: the doctor's own
// request has no samples and is made by another user.
func (d *doctor) uploads(ctx context.Context) Check {
	if !d.Config.Remote.Enabled || !d.shipperdRuns {
		return unknown("none: shipperd is not running, or remote.enabled is false")
	}
	up, remedy, err := fetchUploader(ctx, d.Config.Health)
	switch {
	case err != nil:
		return unknown("no answer from shipperd: " + err.Error())
	case up.Error != "":
		return fail("the last upload failed: "+up.Error,
			cmp.Or(remedy, "fix this if no check above fails; shipperd keeps the samples and retries within two minutes"))
	case up.LastUpload.IsZero():
		return ok("none yet")
	}
	return ok("the last one succeeded " + human.Duration(d.Now().Sub(up.LastUpload)) + " ago")
}

const (
	requestLimit = 5 * time.Second // limit of the request to the daemon
	maxState     = 1 << 20         // bytes of its answer
)

// fetchUploader returns the facts of component uploader from /health of shipperd. If uploads are
// late by a cause that has a remedy, it returns that too: the conditions' own is to run the doctor.
func fetchUploader(ctx context.Context, c config.HealthConfig) (up health.Uploader, remedy string, err error) {
	ctx, cancel := context.WithTimeout(ctx, requestLimit)
	defer cancel()
	address, err := probe.Reachable(c.ShipperdListen)
	if err != nil {
		return up, "", err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/health", nil)
	if err != nil {
		return up, "", err
	}
	if c.AuthFile != "" {
		login, err := secret.ReadLine(c.AuthFile)
		if err != nil {
			return up, "", fmt.Errorf("health.auth_file: %w", err)
		}
		user, password, _ := strings.Cut(login, ":")
		req.SetBasicAuth(user, password)
	}
	// No proxy stands between this machine and itself.
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(req)
	if err != nil {
		return up, "", err
	}
	defer res.Body.Close() //nolint:errcheck // it was read
	var state struct {
		Conditions []health.Active `json:"reasons"`
		Components struct {
			Uploader *struct {
				Facts health.Uploader `json:"facts"`
			} `json:"uploader"`
		} `json:"components"`
	}
	// The answer has the state also where the status is not 200.
	if err := json.NewDecoder(io.LimitReader(res.Body, maxState)).Decode(&state); err != nil {
		return up, "", fmt.Errorf("%s: %s: %w", req.URL, res.Status, err)
	}
	if state.Components.Uploader == nil {
		return up, "", errors.New(req.URL.String() + ": " + res.Status + ", without the state of the uploads")
	}
	for _, a := range state.Conditions {
		for _, late := range []*health.Condition{health.UploadLate, health.UploadOverdue, health.UploadStalled} {
			if a.Code == late.Code && a.Remedy != late.Remedy {
				remedy = a.Remedy
			}
		}
	}
	return state.Components.Uploader.Facts, remedy, nil
}
