package main

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"belabox-metrics/shared/health"
	"belabox-metrics/shared/store"
	"belabox-metrics/shipperd/internal/victoria"
)

// causes has the failures without an answer.
var causes = map[victoria.Reason]health.Cause{
	victoria.ReasonRefused: health.CauseRefused, victoria.ReasonName: health.CauseName, victoria.ReasonUnreachable: health.CauseUnreachable,
	victoria.ReasonClosed: health.CauseClosed, victoria.ReasonCertificate: health.CauseCertificate, victoria.ReasonExpired: health.CauseExpired,
}

// causeOf finds the cause of a failed upload to url by the type of its error. One of no known type
// stands for itself.
func causeOf(err error, url string) health.Cause {
	if errors.Is(err, store.ErrFull) {
		return health.CauseDiskFull
	}
	if errors.Is(err, store.ErrIO) || errors.Is(err, store.ErrReadOnly) {
		return health.CauseDisk
	}
	fault, ok := errors.AsType[*victoria.Error](err)
	if !ok {
		return health.Cause{Message: err.Error()}
	}
	if cause, ok := causes[fault.Reason]; ok {
		return cause.At(url)
	}
	switch {
	case fault.Status == http.StatusUnauthorized || fault.Status == http.StatusForbidden || fault.Status == http.StatusProxyAuthRequired:
		return answered(health.CauseCredentials.At(url), fault.Status)
	case fault.Class == victoria.ClassAuth && fault.Status > 0:
		return answered(health.CauseAddress.At(url), fault.Status)
	case fault.Class == victoria.ClassStranger || fault.Class == victoria.ClassRedirect:
		return answered(health.CauseStranger.At(url), fault.Status)
	case fault.Status > 0:
		return answered(health.CauseAnswer.At(url), fault.Status)
	case fault.Class == victoria.ClassTimeout:
		return health.CauseTimeout.At(url)
	}
	return health.Cause{Message: err.Error()}
}

// answered adds the server's status to a cause.
func answered(c health.Cause, status int) health.Cause {
	c.Message += strings.TrimRight(fmt.Sprintf(" (%d %s", status, http.StatusText(status)), " ") + ")"
	return c
}
