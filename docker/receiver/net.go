package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"

	"belabox-metrics/shared/logx"
)

// bounded lets at most n connections in at a time. Further ones wait in the kernel's queue, where they cost next to
// nothing.
func bounded(l net.Listener, n int) net.Listener {
	return &boundedListener{Listener: l, places: make(chan struct{}, n), closed: make(chan struct{})}
}

type boundedListener struct {
	net.Listener

	places chan struct{}
	once   sync.Once
	closed chan struct{}
}

func (l *boundedListener) Accept() (net.Conn, error) {
	select {
	case l.places <- struct{}{}:
	case <-l.closed:
		return nil, net.ErrClosed
	}
	c, err := l.Listener.Accept()
	if err != nil {
		<-l.places
		return nil, err
	}
	return &boundedConn{Conn: c, leave: sync.OnceFunc(func() { <-l.places })}, nil
}

func (l *boundedListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

type boundedConn struct {
	net.Conn

	leave func()
}

func (c *boundedConn) Close() error {
	defer c.leave()
	return c.Conn.Close()
}

// CloseWrite is how net/http says that the answer has ended while the other side still sends.
func (c *boundedConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}

// certificate is a TLS certificate that follows its files. A nil one stands for plain HTTP.
type certificate struct {
	certFile, keyFile string
	log               *slog.Logger
	faults            *logx.Throttle

	mu     sync.Mutex
	loaded *tls.Certificate
	stamps [2]time.Time
	looked time.Time
}

// newCertificate reads the files; without a name there is none.
func newCertificate(certFile, keyFile string, log *slog.Logger) (*certificate, error) {
	if certFile == "" {
		return nil, nil
	}
	c := &certificate{certFile: certFile, keyFile: keyFile, log: log, faults: logx.NewThrottle(time.Minute, nil)}
	if err := c.load(); err != nil {
		return nil, err
	}
	return c, nil
}

func (c *certificate) load() error {
	stamps := c.stampsNow() // first: a change while reading shows at the next look
	c.stamps = [2]time.Time{}
	loaded, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		return fmt.Errorf("load certificate: %w", err)
	}
	c.loaded, c.stamps = &loaded, stamps
	return nil
}

func (c *certificate) stampsNow() (stamps [2]time.Time) {
	for i, path := range []string{c.certFile, c.keyFile} {
		if info, err := os.Stat(path); err == nil {
			stamps[i] = info.ModTime()
		}
	}
	return stamps
}

// current returns the certificate. Files that changed are read again; those that do not fit each other, because somebody
// is just replacing them, leave the old one in use, and are looked at again each second: what makes them good, such as
// another mode, need not show in their times.
func (c *certificate) current(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := time.Now(); now.Sub(c.looked) >= time.Second {
		c.looked = now
		if c.stampsNow() != c.stamps {
			if err := c.load(); err != nil {
				c.faults.Fail(c.log, slog.LevelError, "certificate cannot be used; the old one stays", err)
			} else {
				c.log.Info("certificate read again")
			}
		}
	}
	return c.loaded, nil
}

// wrap puts TLS on a listener. Handshakes are made by the goroutine of their connection, within the time limit for the
// header. HTTP/2 is not offered: shippers send one request after the other.
func (c *certificate) wrap(l net.Listener) net.Listener {
	if c == nil {
		return l
	}
	return tls.NewListener(l, &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: c.current, NextProtos: []string{"http/1.1"}})
}
