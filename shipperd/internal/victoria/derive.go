package victoria

import (
	"errors"
	"net/url"
	"regexp"
	"strings"
)

const (
	importPath = "/api/v1/import"
	exportPath = "/api/v1/export"
	queryPath  = "/api/v1/query"
)

// insertPath: a cluster's tenant is accountID or accountID:projectID.
// https://docs.victoriametrics.com/victoriametrics/cluster-victoriametrics/#url-format
var insertPath = regexp.MustCompile(`^(.*)/insert/([0-9]+(?::[0-9]+)?)/prometheus$`)

// derive returns where the samples sent to importURL can be read back and
// counted:
//
//	…/api/v1/import                             …/api/v1/export and …/api/v1/query
//	…/insert/<tenant>/prometheus/api/v1/import  …/select/<tenant>/prometheus/api/v1/…
//
// Host, port and any path before these are kept. Parameters of the import address, such as
// extra_label, are left out. Any other address is an error that says to set remote.verify.url.
func derive(importURL *url.URL) (export, query *url.URL, err error) {
	prefix, ok := strings.CutSuffix(strings.TrimRight(importURL.Path, "/"), importPath)
	if !ok {
		return nil, nil, errors.New("the address for reading cannot be derived from remote.url, which does not end in " +
			importPath + "; set remote.verify.url to the server's " + exportPath)
	}
	if m := insertPath.FindStringSubmatch(prefix); m != nil {
		prefix = m[1] + "/select/" + m[2] + "/prometheus"
	} else if strings.Contains(prefix+"/", "/insert/") {
		return nil, nil, errors.New("the address for reading cannot be derived from remote.url, which is not of the form " +
			"/insert/<tenant>/prometheus" + importPath + "; set remote.verify.url to the address of vmselect that ends in " + exportPath)
	}
	return withPath(importURL, prefix+exportPath), withPath(importURL, prefix+queryPath), nil
}

// beside returns the query address that belongs to an export address.
func beside(exportURL *url.URL) (*url.URL, error) {
	prefix, ok := strings.CutSuffix(strings.TrimRight(exportURL.Path, "/"), exportPath)
	if !ok {
		return nil, errors.New("want an address that ends in " + exportPath)
	}
	return withPath(exportURL, prefix+queryPath), nil
}

// withPath keeps the parameters of an export address, because vmauth may need one.
func withPath(u *url.URL, path string) *url.URL {
	v := &url.URL{Scheme: u.Scheme, Host: u.Host, Path: path}
	if !strings.HasSuffix(strings.TrimRight(u.Path, "/"), importPath) {
		v.RawQuery = u.RawQuery
	}
	return v
}

// parseURL quotes nothing of a bad address: a password may be anywhere in it.
func parseURL(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return nil, errors.New("not a URL such as http://127.0.0.1:8428" + importPath)
	case u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "":
		return nil, errors.New("want http:// or https:// and a host")
	case u.User != nil:
		return nil, errors.New("credentials in a URL end up in logs; use remote.auth_token_file or remote.basic_auth")
	}
	return u, nil
}
