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
	victoria.ReasonClosed: health.CauseClosed, victoria.ReasonCertificate: health.CauseCertificate,
}

// causeOf finds the cause of a failed upload by the type of its error. One of no known type stands
// for itself.
func causeOf(err error, host string) health.Cause {
	if errors.Is(err, store.ErrFull) {
		return health.CauseDiskFull
	}
	fault, ok := errors.AsType[*victoria.Error](err)
	if !ok {
		return health.Cause{Message: err.Error()}
	}
	if cause, ok := causes[fault.Reason]; ok {
		return cause.Of(host)
	}
	switch {
	case fault.Status == http.StatusUnauthorized || fault.Status == http.StatusForbidden || fault.Status == http.StatusProxyAuthRequired:
		return answered(health.CauseCredentials.Of(host), fault.Status)
	case fault.Class == victoria.ClassAuth && fault.Status > 0 || fault.Class == victoria.ClassRedirect:
		return answered(health.CauseAddress.Of(host), fault.Status)
	case fault.Class == victoria.ClassStranger:
		return answered(health.CauseStranger.Of(host), fault.Status)
	case fault.Status > 0:
		return answered(health.CauseAnswer.Of(host), fault.Status)
	case fault.Class == victoria.ClassTimeout:
		return health.CauseTimeout.Of(host)
	}
	return health.Cause{Message: err.Error()}
}

// answered adds the server's status to a cause.
func answered(c health.Cause, status int) health.Cause {
	c.Message += strings.TrimRight(fmt.Sprintf(" (%d %s", status, http.StatusText(status)), " ") + ")"
	return c
}
