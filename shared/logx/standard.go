package logx

import (
	"log"
	"log/slog"
	"strings"
)

// standardMost is how many bytes of a line of package log are kept.
const standardMost = 200

// StandardLog makes package log write to l: net/http has lines of its own, which quote what a
// server sent, secrets and all. What they hold is redacted first and cut then.
func (s *Secrets) StandardLog(l *slog.Logger) {
	log.SetFlags(0)
	log.SetOutput(standard{s, l})
}

type standard struct {
	secrets *Secrets
	log     *slog.Logger
}

func (w standard) Write(p []byte) (int, error) {
	text := strings.TrimSpace(w.secrets.RedactParts(string(p)))
	if len(text) > standardMost {
		text = strings.ToValidUTF8(text[:standardMost], "") + "..."
	}
	w.log.Warn("library message", "text", text)
	return len(p), nil
}
