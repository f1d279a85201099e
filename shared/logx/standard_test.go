package logx

import (
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

// TestStandardLog: a server sends a second answer that nobody asked for, with the token in it.
// net/http logs that by itself. The line is one of ours, and shows nothing of the token, wherever
// it is cut.
func TestStandardLog(t *testing.T) { // not parallel: package log has one output
	defer log.SetOutput(os.Stderr)
	defer log.SetFlags(log.Flags())
	logger, lines := newJSON(t)
	const token = "hunter2-hunter2-hunter2"
	secrets := new(Secrets)
	secrets.Add(token)
	secrets.StandardLog(logger)

	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		buf := make([]byte, 4096)
		_, _ = c.Read(buf)
		_, _ = io.WriteString(c, "HTTP/1.1 204 No Content\r\n\r\n")
		time.Sleep(50 * time.Millisecond) // the connection is idle by then
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nX: Bearer "+token+"\r\nY: "+strings.Repeat("y", 500)+"\r\n\r\n")
		_, _ = c.Read(buf) // until the client has closed it
	}()
	transport := &http.Transport{}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+l.Addr().String(), nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	<-done
	transport.CloseIdleConnections()
	// The line is written before the connection is closed.
	log.Print("cut in the middle: ", token[:12])
	got := lines()
	if len(got) != 2 || !strings.Contains(fmt.Sprint(got[0]["text"]), "Unsolicited response") {
		t.Fatalf("got %v", got)
	}
	for _, line := range got {
		if text := fmt.Sprint(line["text"]); strings.Contains(text, "hunter2") || len(text) > standardMost+3 || line["level"] != "WARN" {
			t.Errorf("got %v", line)
		}
	}
}
