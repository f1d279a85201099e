package victoria

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"syscall"
)

// Reason is why a request got no answer, for the operator of the connection. The delivery uses
// Class.
type Reason string

// The reasons; "" = another one, or there was an answer.
const (
	ReasonName        Reason = "name"        // the host name was not resolved
	ReasonRefused     Reason = "refused"     // no program listens there
	ReasonUnreachable Reason = "unreachable" // no route
	ReasonClosed      Reason = "closed"      // the other end closed the connection
	ReasonCertificate Reason = "certificate" // the server's certificate is not trusted
	ReasonExpired     Reason = "expired"     // by this machine's clock
)

func reasonOf(err error) Reason {
	var name *net.DNSError
	var certificate *tls.CertificateVerificationError
	var invalid x509.CertificateInvalidError
	is := func(targets ...error) bool {
		for _, target := range targets {
			if errors.Is(err, target) {
				return true
			}
		}
		return false
	}
	switch {
	case errors.As(err, &name):
		return ReasonName
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return ReasonExpired
	case errors.As(err, &certificate):
		return ReasonCertificate
	case is(syscall.ECONNREFUSED):
		return ReasonRefused
	case is(syscall.ENETUNREACH, syscall.EHOSTUNREACH):
		return ReasonUnreachable
	case is(syscall.ECONNRESET, syscall.EPIPE, io.EOF, io.ErrUnexpectedEOF):
		return ReasonClosed
	}
	return ""
}
