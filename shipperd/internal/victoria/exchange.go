package victoria

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// Limits on answers.
const (
	maxReplyBytes = 1 << 20  // of an import or a count
	maxErrorBytes = 64 << 10 // that are looked at of an error's answer
	maxErrorText  = 200      // of them, or of anything else that others wrote, in an Error
	maxQuoted     = 4 << 10  // of a line that are looked at to quote it
)

// exchange is one request and its answer.
type exchange struct {
	c       *Client
	ctx     context.Context //nolint:containedctx // of this one request, with its time limit
	cancel  context.CancelFunc
	req     *http.Request
	resp    *http.Response
	text    string   // "import to http://host/path"
	secrets []string // that this request carries

	// The boot clock when it began, and when the head of the answer came.
	startedBoot, arrivedBoot time.Duration
	body                     *countedBody // of an import, nil = a read
	conn                     atomic.Pointer[usedConn]
}

// usedConn is a connection and what had passed over it before.
type usedConn struct {
	*conn
	sent, received int64
}

// countedBody notes whether the body has been read: until then nothing can have been sent.
type countedBody struct {
	data []byte
	read atomic.Bool
}

func (b *countedBody) open() (io.ReadCloser, error) {
	return io.NopCloser(&countedReader{bytes.NewReader(b.data), b}), nil
}

type countedReader struct {
	r *bytes.Reader
	b *countedBody
}

func (r *countedReader) Read(p []byte) (int, error) {
	r.b.read.Store(true)
	return r.r.Read(p)
}

// begin sends a request and waits for the head of the answer. end must be called
// on the exchange, also after an error.
func (c *Client) begin(ctx context.Context, verb, method string, target *url.URL, header http.Header, body []byte, importing bool) (*exchange, error) {
	x := &exchange{c: c, startedBoot: c.cfg.Boot(), text: verb + " " + target.Scheme + "://" + target.Host + target.Path}
	x.ctx, x.cancel = context.WithTimeout(ctx, c.cfg.Timeout)
	trace := &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) {
		if counted := countingConn(info.Conn); counted != nil {
			x.conn.Store(&usedConn{counted, counted.sent.Load(), counted.received.Load()})
		}
	}}
	req, err := http.NewRequestWithContext(httptrace.WithClientTrace(x.ctx, trace), method, target.String(), nil)
	if err != nil {
		return x, x.fail(configuration(err))
	}
	x.req = req
	req.Header = header
	if len(body) > 0 {
		counted := &countedBody{data: body}
		req.Body, _ = counted.open()
		req.GetBody = counted.open // for a connection that was closed before a byte was written
		req.ContentLength = int64(len(body))
		if importing {
			x.body = counted
		}
	}
	if x.secrets, err = c.authorise(req); err != nil {
		return x, x.fail(err)
	}
	req.Header.Set("User-Agent", "belabox-metrics")
	// RoundTrip, not Client.Do: no redirects, no cookies, and no *url.Error with
	// the address in it.
	if x.resp, err = c.current().RoundTrip(req); err != nil {
		return x, x.fail(err)
	}
	x.arrivedBoot = c.cfg.Boot()
	if x.resp.StatusCode < 200 {
		// After 101 the body is the raw connection, to which the time limit does not apply.
		x.resp.Body.Close() //nolint:errcheck // nothing is read of it
		x.resp.Body = http.NoBody
	}
	x.resp.Body = plain(x.resp)
	return x, nil
}

// end releases the connection: for the next request if the answer was read to
// its end, else it is closed.
func (x *exchange) end() {
	if x.resp != nil {
		x.resp.Body.Close() //nolint:errcheck // what was wanted of it has been read
	}
	x.cancel()
}

// wire returns the bytes of this request on its connection, without those of the
// TLS handshake.
func (x *exchange) wire() (sent, received int64) {
	u := x.conn.Load()
	if u == nil {
		return 0, 0
	}
	return u.conn.sent.Load() - u.sent, u.conn.received.Load() - u.received
}

// ambiguous: only an import can have stored something, and only if its body was
// touched.
func (x *exchange) ambiguous() bool { return x.body != nil && x.body.read.Load() }

// fail makes the Error of a request that got no answer, or not all of it.
func (x *exchange) fail(err error) *Error {
	e := &Error{Class: classOf(err), Reason: reasonOf(err), Ambiguous: x.ambiguous(), request: x.text}
	if x.resp != nil {
		e.Status = x.resp.StatusCode
	}
	text := strings.TrimPrefix(err.Error(), errConfiguration.Error()+": ")
	if errors.Is(x.ctx.Err(), context.DeadlineExceeded) {
		text = "no answer in time"
	}
	e.Err = &cause{excerpt(x.clean(text, false)), err}
	return e
}

// distrust makes the Error for a 2xx answer that is not valid. What it quotes from the answer has
// to be complete, or come from quote: a secret that was cut first is no longer found.
func (x *exchange) distrust(format string, args ...any) *Error {
	e := x.fail(fmt.Errorf(format, args...))
	e.Class = ClassServer
	return e
}

// webPage is the Error for an HTML page, which no metrics server sends with 2xx.
func (x *exchange) webPage() *Error {
	e := x.distrust("the answer is a web page: something else than the server has answered, such as a proxy or a login page")
	e.Class = ClassStranger
	return e
}

// quote returns the beginning of an external text, in a form that an Error may contain.
func (x *exchange) quote(text []byte) string {
	cut := len(text) > maxQuoted
	return strconv.Quote(excerpt(x.clean(string(text[:min(len(text), maxQuoted)]), cut)))
}

// own reports whether only VictoriaMetrics or our receiver can have sent the answer: each of
// their programs names its host. A login page, or a proxy that answers by itself, does not.
func (x *exchange) own() bool {
	return x.resp.Header.Get("X-Server-Hostname") != "" || x.resp.Header.Get("Server") == receiverName
}

// receiverName is the project's own receiver in the header Server.
const receiverName = "belabox-metrics-receiver"

// refused makes the Error of an answer that is not 2xx.
func (x *exchange) refused() *Error {
	body, cut := x.readError()
	retryAfter, sent := x.retryAfter()
	v := judge(x.resp.StatusCode, sent, body)
	e := &Error{
		Class: v.class, Status: x.resp.StatusCode, RetryAfter: retryAfter,
		Ambiguous: v.ambiguous && x.body != nil, Body: excerpt(x.clean(body, cut)), request: x.text,
	}
	switch {
	case v.class == ClassRedirect:
		e.Err = errors.New(x.redirect())
	case x.body == nil && unsupported(e.Status, v):
		e.Err = ErrNotSupported
	case v.hint != "":
		e.Err = errors.New(v.hint)
	}
	return e
}

// redirect says where a redirect leads, without the path, which may contain a secret.
func (x *exchange) redirect() string {
	to, err := x.resp.Location()
	if err != nil || to.Hostname() == "" {
		return "it redirects to nowhere"
	}
	return x.clean(fmt.Sprintf("it redirects to %s://%s; redirects are not followed, because it may be a login page", to.Scheme, to.Host), false)
}

// retryAfter measures a date against the server's own clock, if the answer has it, because that
// of the device may be wrong.
func (x *exchange) retryAfter() (time.Duration, bool) {
	now, err := http.ParseTime(x.resp.Header.Get("Date"))
	if err != nil {
		now = time.Now()
	}
	return parseRetryAfter(x.resp.Header.Get("Retry-After"), now)
}

// readError reads the beginning of an error's answer. If it breaks off, nothing is lost, because
// the status has arrived.
func (x *exchange) readError() (text string, cut bool) {
	body, err := io.ReadAll(io.LimitReader(x.resp.Body, maxErrorBytes+1))
	if len(body) > maxErrorBytes {
		return string(body[:maxErrorBytes]), true
	}
	return string(body), err != nil
}

// readReply reads an answer that must be whole and fit in maxReplyBytes.
func (x *exchange) readReply() ([]byte, *Error) {
	body, err := io.ReadAll(io.LimitReader(x.resp.Body, maxReplyBytes+1))
	if err != nil {
		return nil, x.fail(fmt.Errorf("the answer broke off: %w", err))
	}
	if len(body) > maxReplyBytes {
		return nil, x.distrust("the answer is longer than %d bytes", maxReplyBytes)
	}
	if len(body) > 0 && x.isPage(body) {
		return nil, x.webPage()
	}
	return body, nil
}

// isPage checks the content type and the first byte: no answer that we read begins with "<".
func (x *exchange) isPage(body []byte) bool {
	return x.mediaType() == "text/html" || bytes.HasPrefix(bytes.TrimLeft(body, " \t\r\n\ufeff"), []byte("<"))
}

func (x *exchange) mediaType() string {
	t, _, err := mime.ParseMediaType(x.resp.Header.Get("Content-Type"))
	if err != nil {
		return ""
	}
	return t
}

// clean removes the secrets of the request. cut says that text is the beginning
// of a longer one.
func (x *exchange) clean(text string, cut bool) string {
	secrets := x.secrets
	if x.req != nil {
		secrets = append(secrets, x.c.otherSecrets(x.req)...)
	}
	return strings.ToValidUTF8(redact(text, secrets, cut), "\uFFFD")
}

// excerpt shortens text for an Error.
func excerpt(text string) string {
	text = strings.TrimSpace(text)
	if len(text) > maxErrorText {
		text = strings.ToValidUTF8(text[:maxErrorText], "")
	}
	return text
}
