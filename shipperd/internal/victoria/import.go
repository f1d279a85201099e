package victoria

import (
	"context"
	"net/http"
)

// Reply is the result of an import. If there was no answer, Status is 0, and the rest says what
// was spent on it.
type Reply struct {
	Status        int
	BytesSent     int64 // on the wire, headers included
	BytesReceived int64 // likewise
	// Details is what the server says of single lines, nil if it says nothing:
	// then a Reply without an error means that it took all of them.
	Details *Details
	// Own says that only VictoriaMetrics can have sent the answer, not a proxy or a login page in
	// its place.
	Own bool
}

// Import posts a body of gzip'd JSON lines under an id that stays the same when
// the body is sent again ("<batch>/<index>", in the header X-Chunk-Id). Failures
// are of type *Error; the Reply is filled in with them, too.
//
// A request has some hundred samples, so each header counts. There is no Content-Type, which the
// server ignores, and no id if VictoriaMetrics itself answers, which does not use it.
func (c *Client) Import(ctx context.Context, body []byte, id string) (Reply, error) {
	header := http.Header{"Content-Encoding": {"gzip"}}
	if !c.ignoresID.Load() {
		header.Set("X-Chunk-Id", id)
	}
	x, err := c.begin(ctx, "import to", http.MethodPost, c.importURL, header, body, true)
	defer x.end()
	var details *Details
	if err == nil {
		details, err = x.imported()
	}
	r := Reply{Details: details}
	if x.resp != nil {
		r.Status = x.resp.StatusCode
		r.Own = details != nil || x.own()
		c.ignoresID.Store(x.resp.Header.Get("X-Server-Hostname") != "")
		if err == nil {
			x.noteTime(Writing, r.Own)
		}
	}
	r.BytesSent, r.BytesReceived = x.wire()
	return r, err
}

// imported reads the answer to an import.
func (x *exchange) imported() (*Details, error) {
	if x.resp.StatusCode < 200 || x.resp.StatusCode > 299 {
		return nil, x.refused()
	}
	body, fail := x.readReply()
	if fail != nil {
		return nil, fail
	}
	if x.mediaType() != "application/json" || len(body) == 0 {
		return nil, nil
	}
	details, err := parseDetails(body)
	if err != nil {
		return nil, x.distrust("the answer's details: %w", err)
	}
	for i := range details.lines() {
		reason := &details.Lines[i].Reason
		*reason = excerpt(x.clean(*reason, false))
	}
	return details, nil
}
