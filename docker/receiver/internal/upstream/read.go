package upstream

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"belabox-metrics/docker/receiver/internal/line"
)

const (
	// maxAnswerBytes bounds the answer to a question.
	maxAnswerBytes = 1 << 20
	// maxLineBytes bounds a line of an export. It was asked for lines that are far shorter.
	maxLineBytes = 16 << 20
	// maxExport bounds an export from its question to its last byte.
	maxExport = 5 * time.Minute
)

// Query asks a counting question at a time (milliseconds since 1970) and returns the server's JSON. Devices, where there
// are any, are all that is looked at.
func (s *Server) Query(ctx context.Context, promql string, atMS int64, devices []string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	// nocache: else the server answers for an earlier time during the last 30 s.
	form := url.Values{"query": {promql}, "time": {seconds(atMS)}, "nocache": {"1"}}
	resp, err := s.ask(ctx, s.count, form, devices)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswerBytes+1))
	switch {
	case err != nil:
		return nil, failure(err)
	case len(text) > maxAnswerBytes || !json.Valid(text):
		return nil, &Error{Status: http.StatusBadGateway, Text: "the upstream's answer to a question is not JSON, or too long"}
	}
	return text, nil
}

// Export asks for samples (form has match[], start, end and the like) and calls yield for each line of the answer. A
// line that is of none of the devices, where there are any, is an error: it was not asked for. An error of yield ends
// the export and is returned. Any error after the first yield means that the rest is missing.
func (s *Server) Export(ctx context.Context, form url.Values, devices []string, yield func(text []byte) error) error {
	ctx, cancel := context.WithTimeout(ctx, maxExport)
	defer cancel()
	resp, err := s.ask(ctx, s.export, form, devices)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.ContentLength < 0 && !slices.Contains(resp.TransferEncoding, "chunked") {
		return &Error{Status: http.StatusBadGateway, Text: "the upstream's answer has no mark at its end: it may have been cut off"}
	}
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(make([]byte, 64<<10), maxLineBytes)
	marks := deviceMarks(devices)
	for lines.Scan() {
		text := lines.Bytes()
		if len(bytes.TrimSpace(text)) == 0 {
			continue
		}
		if marks != nil && !slices.ContainsFunc(marks, func(m []byte) bool { return bytes.Contains(text, m) }) {
			return &Error{Status: http.StatusBadGateway, Text: "the upstream answered with samples of another device: it is no VictoriaMetrics from 1.79 on"}
		}
		if err := yield(text); err != nil {
			return err
		}
	}
	if err := lines.Err(); err != nil {
		return failure(err)
	}
	return nil
}

// deviceMarks are the texts of which one is in every line of one of the devices, and in no other: within a JSON string
// each quote has a backslash before it.
func deviceMarks(devices []string) [][]byte {
	var marks [][]byte
	for _, d := range devices {
		marks = append(marks, fmt.Appendf(nil, `"%s":%q`, line.DeviceLabel, d))
	}
	return marks
}

// ask sends a question that is limited to the devices by what it says and, should that be read in another way than here,
// by a filter of the server's own. https://docs.victoriametrics.com/victoriametrics/#prometheus-querying-api-enhancements
func (s *Server) ask(ctx context.Context, address string, form url.Values, devices []string) (*http.Response, error) {
	if len(devices) > 0 {
		quoted := make([]string, len(devices))
		for i, d := range devices {
			quoted[i] = quoteMeta(d)
		}
		form.Set("extra_filters[]", fmt.Sprintf("{%s=~%q}", line.DeviceLabel, strings.Join(quoted, "|")))
	}
	header := http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}
	resp, err := s.do(ctx, address, header, []byte(form.Encode()))
	if err != nil {
		return nil, err
	}
	if resp.StatusCode == http.StatusOK {
		return resp, nil
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(resp.Body, maxErrorBytes)) // the status says enough
	if resp.StatusCode/100 == 2 {
		return nil, &Error{Status: http.StatusBadGateway, Text: fmt.Sprintf("the upstream answered %d to a question", resp.StatusCode)}
	}
	return nil, refusal(resp, text)
}

// quoteMeta is regexp.QuoteMeta for a device's id, in which only the dot means something.
func quoteMeta(device string) string { return strings.ReplaceAll(device, ".", `\.`) }

// seconds writes a time as the server reads it exactly.
func seconds(ms int64) string { return strconv.FormatFloat(float64(ms)/1000, 'f', 3, 64) }
