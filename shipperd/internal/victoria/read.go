package victoria

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"strconv"
)

// maxGetBytes is the longest address that is read by GET. Proxies take 4 KiB and
// more; a form, which is for longer ones, costs two headers.
const maxGetBytes = 2000

// read sends a read. zip requests a compressed answer, which is larger where it is
// short. A status other than 200 is an error.
func (c *Client) read(ctx context.Context, verb string, target *url.URL, form url.Values, zip bool) (*exchange, error) {
	if target == nil {
		return nil, &Error{Class: ClassAuth, Err: c.deriveErr, request: verb + " the server"}
	}
	maps.Copy(form, target.Query())
	u := *target
	u.RawQuery = form.Encode()
	header := http.Header{}
	if zip {
		header.Set("Accept-Encoding", "gzip")
	}
	method, body := http.MethodGet, []byte(nil)
	if len(u.RawQuery) > maxGetBytes {
		method, body = http.MethodPost, []byte(u.RawQuery)
		u.RawQuery = ""
		header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	x, err := c.begin(ctx, verb, method, &u, header, body, false)
	switch {
	case err != nil:
	case x.resp.StatusCode == http.StatusOK:
		return x, nil
	case x.resp.StatusCode/100 == 2:
		err = x.distrust("that is no whole answer")
	default:
		err = x.refused()
	}
	x.end()
	return nil, err
}

// seconds writes a time in milliseconds as the server reads it exactly: Unix seconds with up to
// three decimals. It does not accept a sign with decimals, which a clock in 1970 may require.
func seconds(ms int64) string {
	ms = max(ms, 0)
	if ms%1000 == 0 {
		return strconv.FormatInt(ms/1000, 10)
	}
	return fmt.Sprintf("%d.%03d", ms/1000, ms%1000)
}
