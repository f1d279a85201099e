package victoria

import (
	"context"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

var (
	// flagLine is a line of /flags, which shows the flags that are set:
	// -retentionPeriod="1d"
	flagLine = regexp.MustCompile(`^-([A-Za-z0-9._]+)=("(?:[^"\\]|\\.)*")$`)
	// flagMetric is a line of /metrics, which shows all that the program knows:
	// flag{name="retentionPeriod", value="1d", is_set="true"} 1
	flagMetric = regexp.MustCompile(`^flag\{name="([^"]*)", ?value=("(?:[^"\\]|\\.)*")`)
	// selectPath is the prefix of the paths of a cluster's vmselect.
	selectPath = regexp.MustCompile(`/select/[0-9]+(?::[0-9]+)?/prometheus$`)
)

// Flags returns the values of those of the named command-line flags that the
// server from which we read knows and shows, at /flags or /metrics beside the
// export address. Behind a proxy such as vmauth it shows none, which is no error:
// an error means that the server did not answer.
func (c *Client) Flags(ctx context.Context, names ...string) (map[string]string, error) {
	found := map[string]string{}
	var failure error
	for _, source := range []struct {
		path    string
		pattern *regexp.Regexp
	}{{"/flags", flagLine}, {"/metrics", flagMetric}} {
		if len(found) == len(names) {
			break
		}
		failure = c.readFlags(ctx, source.path, func(line []byte) {
			m := source.pattern.FindSubmatch(line)
			if m == nil || !slices.Contains(names, string(m[1])) {
				return
			}
			if value, err := strconv.Unquote(string(m[2])); err == nil {
				found[string(m[1])] = value
			}
		})
	}
	if len(found) > 0 {
		return found, nil
	}
	return found, failure
}

func (c *Client) readFlags(ctx context.Context, path string, each func(line []byte)) error {
	x, err := c.read(ctx, "read flags from", c.besideExport(path), url.Values{}, true)
	if err != nil {
		return err
	}
	defer x.end()
	if err := eachLine(x.resp.Body, func(line []byte) error { each(line); return nil }); err != nil {
		return x.fail(err)
	}
	return nil
}

// besideExport returns the address of a path of the program that answers exports.
func (c *Client) besideExport(path string) *url.URL {
	if c.exportURL == nil {
		return nil
	}
	prefix, _ := strings.CutSuffix(strings.TrimRight(c.exportURL.Path, "/"), exportPath)
	return withPath(c.exportURL, selectPath.ReplaceAllString(prefix, "")+path)
}
