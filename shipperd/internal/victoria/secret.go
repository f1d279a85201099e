package victoria

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"belabox-metrics/shared/logx"
)

// maxSecretBytes is more than any token needs and less than a wrong file has.
const maxSecretBytes = 16 << 10

// TokenFile returns a function that reads a secret from a file each time. The
// file must be readable by its owner alone (mode 0600 or 0400) or be a systemd
// credential, which lies in a folder that only the service can enter. One line
// end is no part of the secret; an empty one and control characters are refused.
func TokenFile(path string) func() (string, error) {
	return func() (string, error) {
		secret, err := readSecret(path)
		if err != nil {
			return "", fmt.Errorf("read secret: %w", err)
		}
		return secret, nil
	}
}

func readSecret(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close() //nolint:errcheck // nothing was written
	info, err := f.Stat()
	if err != nil {
		return "", err
	}
	switch mode := info.Mode(); {
	case !mode.IsRegular():
		return "", fmt.Errorf("%q is not a file", path)
	case mode.Perm() != 0o600 && mode.Perm() != 0o400 && !isCredential(path):
		return "", fmt.Errorf("%q has mode %04o: others may read it; run: chmod 600 %s", path, mode.Perm(), path)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxSecretBytes+1))
	if err != nil {
		return "", err
	}
	secret := strings.TrimSuffix(strings.TrimSuffix(string(text), "\n"), "\r")
	switch {
	case len(text) > maxSecretBytes:
		return "", fmt.Errorf("%q is larger than %d bytes: not a secret", path, maxSecretBytes)
	case secret == "":
		return "", fmt.Errorf("%q is empty", path)
	case hasControl(secret) || strings.Contains(secret, "\t"):
		return "", fmt.Errorf("%q contains a control character or a second line", path)
	}
	return secret, nil
}

// isCredential tells whether path is one of systemd's credentials. They are 0440
// to the eye, by an access list for the service's user.
// https://systemd.io/CREDENTIALS/
func isCredential(path string) bool {
	dir := os.Getenv("CREDENTIALS_DIRECTORY")
	if !filepath.IsAbs(dir) {
		return false
	}
	rel, err := filepath.Rel(dir, path)
	return err == nil && filepath.IsLocal(rel) && rel != "."
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

// otherSecrets returns what must not show in an error of req either: headers and
// parameters, which are no place for secrets but get them, and the proxy's password.
func (c *Client) otherSecrets(req *http.Request) (secrets []string) {
	// Short values are no secrets and would garble the error: a tenant's number.
	add := func(value string) {
		if len(value) >= 6 {
			secrets = append(secrets, value)
		}
	}
	for _, value := range c.cfg.Headers {
		add(value)
	}
	for _, u := range []*url.URL{c.importURL, c.exportURL} { // what shipperd itself adds to them is no secret
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

// pair returns the forms of a password: logx.Secrets knows those of each in turn.
func pair(user, password string) []string {
	return []string{password, user + ":" + password}
}

// redact removes secrets from text. Where text was cut, a secret that begins at
// its very end goes as well.
func redact(text string, secrets []string, cut bool) string {
	var s logx.Secrets
	for _, secret := range secrets {
		s.Add(secret)
	}
	text = s.Redact(text)
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

// errConfiguration marks what only a person can mend.
var errConfiguration = errors.New("configuration")

func configuration(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		err = fmt.Errorf("%w; the user of shipperd must be able to read it", err)
	}
	return fmt.Errorf("%w: %w", errConfiguration, err)
}
