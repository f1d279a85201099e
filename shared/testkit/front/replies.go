package front

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// hijack takes the connection of a request. It is closed when the test ends, and
// close must be called on it.
func hijack(w http.ResponseWriter, r *http.Request) (c net.Conn, release func()) {
	_, _ = io.Copy(io.Discard, r.Body) // a body that is left would be taken for the next request
	c, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler) // the client has gone
	}
	_ = c.SetDeadline(time.Time{})
	stop := context.AfterFunc(r.Context(), func() { c.Close() })
	return c, func() {
		stop()
		c.Close()
	}
}

// untilClosed waits until the client closes a connection.
func untilClosed(c net.Conn) { _, _ = io.Copy(io.Discard, c) }

// head is the first part of an answer: a status line and the headers.
func head(version string, status int, header http.Header) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %d %s\r\n", version, status, http.StatusText(status))
	_ = header.Write(&b) // a builder takes all
	return b.String() + "\r\n"
}

// HTTP10 speaks HTTP/1.0: an answer has no length and no compression, and ends with
// the connection.
func HTTP10() Mode {
	return func(server http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			answer := plainly(server, r)
			c, release := hijack(w, r)
			defer release()
			header := maps.Clone(answer.Header())
			for _, name := range []string{"Content-Length", "Transfer-Encoding", "Connection"} {
				header.Del(name)
			}
			_, _ = io.WriteString(c, head("HTTP/1.0", answer.Code, header))
			if r.Method != http.MethodHead {
				_, _ = c.Write(answer.Body.Bytes())
			}
		})
	}
}

// CutExports gives the first half of the lines of exports as if it were all.
func CutExports() Mode {
	return func(server http.Handler) http.Handler {
		return instead(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			answer := plainly(server, r)
			all := slices.Collect(bytes.Lines(answer.Body.Bytes()))
			answer.Body = bytes.NewBuffer(bytes.Join(all[:len(all)/2], nil))
			answer.Header().Del("Content-Length")
			give(w, answer)
		}), Export)(server)
	}
}

// SwitchProtocols answers requests of the kinds with 101 and keeps the connection
// open, without a word.
func SwitchProtocols(kinds ...Kind) Mode {
	return instead(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, release := hijack(w, r)
		defer release()
		_, _ = io.WriteString(c, head("HTTP/1.1", http.StatusSwitchingProtocols, http.Header{"Upgrade": {"websocket"}, "Connection": {"Upgrade"}}))
		untilClosed(c)
	}), kinds...)
}

// SecondAnswer gives the server's answer to each request, and behind it another one
// that nobody has asked for, with what the request had in its header Authorization.
// Then it closes the connection.
func SecondAnswer() Mode {
	return func(server http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			answer := httptest.NewRecorder()
			server.ServeHTTP(answer, r)
			c, release := hijack(w, r)
			defer release()
			header := maps.Clone(answer.Header())
			header.Del("Transfer-Encoding")
			if answer.Code != http.StatusNoContent {
				header.Set("Content-Length", strconv.Itoa(answer.Body.Len()))
			}
			text := head("HTTP/1.1", answer.Code, header)
			if r.Method != http.MethodHead {
				text += answer.Body.String()
			}
			// Both at once: a client that sends its next request in between would take
			// the second for the answer to that.
			_, _ = io.WriteString(c, text+head("HTTP/1.1", http.StatusBadRequest, http.Header{
				"X-You-Said": {r.Header.Get("Authorization")}, "Content-Length": {"0"},
			}))
		})
	}
}

// LongDetails passes imports on that have a body, and answers with details of single
// lines, of which one is a number of so many digits.
func LongDetails(digits int) Mode {
	return onImports(func(w http.ResponseWriter, r *http.Request, server http.Handler) error {
		all, err := lines(r)
		if err != nil {
			return err
		}
		if len(all) == 0 {
			give(w, sendLines(server, r, all))
			return nil
		}
		if answer := sendLines(server, r, all); answer.Code/100 != 2 {
			give(w, answer)
			return nil
		}
		Answer{
			Status: http.StatusOK, Type: "application/json",
			Body: `{"accepted":0,"rejected":1,"lines":[{"line":` + strings.Repeat("9", digits) + `,"reason":"no","retry":false}]}`,
		}.ServeHTTP(w, r)
		return nil
	})
}

// FloodExports answers exports with so many lines of series of others, and no other.
func FloodExports(count int) Mode {
	return instead(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/stream+json")
		ms := time.Now().UnixMilli()
		for i := range count {
			_, err := fmt.Fprintf(w, `{"metric":{"__name__":"of_others","device_id":"other-%d","core":"%d"},"values":[%d],"timestamps":[%d]}`+"\n", i, i%64, i, ms)
			if err != nil {
				return // the client has gone
			}
		}
	}), Export)
}

// Leak answers requests of the kinds with a status and a text that repeats what the
// request had as its token, again and again, and ends with the first half of one. In
// three answers the token stands at three places: wherever a client cuts the text, in
// one of them it cuts off less than half of a token.
func Leak(status int, kinds ...Kind) Mode {
	var n atomic.Int64
	return instead(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		every := len(token) + 1
		text := strings.Repeat("-", int(n.Add(1)%3)*every/3) + strings.Repeat(token+" ", 1+100_000/every) + token[:len(token)/2]
		Answer{Status: status, Type: "application/json", Body: `{"status":"` + text + `"}`}.ServeHTTP(w, r)
	}), kinds...)
}
