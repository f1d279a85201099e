package victoria

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"strings"

	"belabox-metrics/shared/logx"
	"belabox-metrics/shared/secret"
)

// TokenFile returns a function that reads a secret from a file each time. The file contains one
// line, and only its owner may read it, or it is a systemd credential.
func TokenFile(path string) func() (string, error) {
	return func() (string, error) {
		token, err := secret.ReadLine(path)
		if err != nil {
			return "", fmt.Errorf("read secret: %w", err)
		}
		return token, nil
	}
}

// authorise puts headers and credentials on req. secrets are the credentials.
func (c *Client) authorise(req *http.Request) (secrets []string, err error) {
	for name, value := range c.cfg.Headers {
		req.Header.Set(name, value)
	}
	switch {
	case c.cfg.Token != nil:
		token, err := c.cfg.Token()
		if err != nil {
			return nil, configuration(err)
		}
		secrets = []string{token}
		req.Header.Set("Authorization", "Bearer "+token)
	case c.cfg.BasicAuth != nil:
		password, err := c.cfg.BasicAuth.Password()
		if err != nil {
			return nil, configuration(err)
		}
		secrets = pair(c.cfg.BasicAuth.Username, password)
		req.SetBasicAuth(c.cfg.BasicAuth.Username, password)
	}
	if hasControl(req.Header.Get("Authorization")) {
		return nil, configuration(errors.New("the token contains a control character"))
	}
	return secrets, nil
}

// otherSecrets returns what else must not appear in an error of req: the proxy's password, and
// headers and parameters, which are not meant for secrets but may contain them.
func (c *Client) otherSecrets(req *http.Request) (secrets []string) {
	// Short values, such as a tenant's number, are not secrets, and redacting them would garble the
	// error.
	add := func(value string) {
		if len(value) >= 6 {
			secrets = append(secrets, value)
		}
	}
	for _, value := range c.cfg.Headers {
		add(value)
	}
	for _, u := range []*url.URL{c.importURL, c.exportURL} { // what shipperd adds is not secret
		if u == nil {
			continue
		}
		for _, values := range u.Query() {
			for _, value := range values {
				add(value)
			}
		}
	}
	if proxy, err := c.proxy(req); err == nil && proxy != nil && proxy.User != nil {
		password, _ := proxy.User.Password()
		secrets = append(secrets, pair(proxy.User.Username(), password)...)
	}
	return secrets
}

// pair returns the forms of a password; logx.Secrets adds the encodings of each.
func pair(user, password string) []string {
	return []string{password, user + ":" + password}
}

// redact removes secrets from text, and the beginnings of secrets that somebody else has cut. Where
// we have cut the text, a secret that begins at its very end goes as well, however little of it.
func redact(text string, secrets []string, cut bool) string {
	var s logx.Secrets
	for _, secret := range secrets {
		s.Add(secret)
	}
	text = s.RedactParts(text)
	if !cut {
		return text
	}
	for _, secret := range secrets {
		for n := min(len(secret)-1, len(text)); n > 0; n-- {
			if strings.HasSuffix(text, secret[:n]) {
				text = text[:len(text)-n]
				break
			}
		}
	}
	return text
}

// errConfiguration marks errors that only a change of the configuration fixes.
var errConfiguration = errors.New("configuration")

func configuration(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		err = fmt.Errorf("%w; the user of shipperd must be able to read it", err)
	}
	return fmt.Errorf("%w: %w", errConfiguration, err)
}
