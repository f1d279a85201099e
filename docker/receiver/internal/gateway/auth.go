package gateway

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"

	"belabox-metrics/docker/receiver/internal/line"
	"belabox-metrics/docker/receiver/internal/selector"
)

// Tokens tells which devices a bearer token stands for; none means that it is not known.
type Tokens interface {
	Devices(token string) []string
}

// caller is who sent a request: the devices that a token stands for, sorted. Where nobody is asked it is empty, and then
// everything is allowed.
type caller []string

// name is under what the caller's chunks and limits are kept.
func (c caller) name() string { return strings.Join(c, ",") }

// owns tells whether a device's samples are the caller's.
func (c caller) owns(device string) bool {
	if len(c) == 0 {
		return true
	}
	_, found := slices.BinarySearch(c, device)
	return found
}

// restrict narrows a selector to the caller's devices. One that names another device is refused: an answer without
// samples would mean that they are not there, and shipperd would send them a second time.
func (c caller) restrict(text string) (string, error) {
	if len(c) == 0 {
		return text, nil
	}
	sel, err := selector.Parse(text)
	if err != nil {
		return "", err
	}
	if device := sel.Equal(line.DeviceLabel); device != "" && !c.owns(device) {
		return "", fail(http.StatusForbidden, "these samples are not shown to this token: %s", c.foreign(device))
	}
	return selector.Restrict(text, line.DeviceLabel, c), nil
}

var errUnknown = errors.New("no token, or one that is not known")

// identify finds out who is asking. Nothing of the body has been read yet, and of a stranger's nothing is kept.
func (g *gateway) identify(w http.ResponseWriter, r *http.Request) (caller, error) {
	if g.tokens == nil {
		return nil, nil
	}
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if strings.EqualFold(scheme, "Bearer") {
		if devices := g.tokens.Devices(strings.TrimSpace(token)); len(devices) > 0 {
			return devices, nil
		}
	}
	g.stats.strangers.Inc()
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host = r.RemoteAddr
	}
	g.strangers.Fail(g.log, slog.LevelWarn, "request refused", errUnknown, "from", host)
	w.Header().Set("WWW-Authenticate", `Bearer realm="belabox-metrics"`)
	w.Header().Set("Connection", "close")
	return nil, fail(http.StatusUnauthorized, "%v", errUnknown)
}

// known is a handler that knows who is asking, within the limits of that device.
type known func(w http.ResponseWriter, r *http.Request, who caller) error

func (g *gateway) forCallers(h known) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		who, err := g.identify(w, r)
		if err != nil {
			return err
		}
		leave, err := g.limits.enter(who.name(), len(who) > 0)
		if err != nil {
			// The connection stays: a new one costs a handshake, at the moment at which there are too many already.
			g.stats.limited.Inc()
			return err
		}
		defer leave()
		return h(w, r, who)
	}
}

// errForeign refuses a body of which not one line is the sender's: it has another device's token, or another
// device.id. That is a setting to be mended, and until then nothing is lost; line by line it would be final.
func (c caller) errForeign(reason string) error {
	return fail(http.StatusForbidden, "the token does not belong to these samples; nothing was stored: %s", reason)
}

func (c caller) foreign(device string) string {
	if device == "" {
		return "no label device_id, which the token asks for"
	}
	return fmt.Sprintf("device_id %s is not the token's", quoted(device))
}

// quoted shortens what a client sent, for an answer.
func quoted(s string) string {
	if len(s) > 64 {
		return fmt.Sprintf("%q...", s[:64])
	}
	return fmt.Sprintf("%q", s)
}
