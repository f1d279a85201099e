package front

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strings"
	"sync"
)

// route is where the requests of a token go.
type route struct {
	paths *regexp.Regexp
	args  url.Values // added to the request's
}

// The lines of a user: the token, and of each route the paths and an address.
var userLine = regexp.MustCompile(`(?m)^(?:  bearer_token: "(.+)"|  - src_paths: \["(.+)"\]|    - '(.+)')$`)

// Users keeps devices apart as vmauth does that has read the file, which scripts/vmauth-users.sh
// has written: 401 for a token that is not in it, 400 for a path without a route, and each request
// with the query arguments of its route. The addresses in the file are not used.
func Users(file string) (Mode, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	routes := map[string][]route{}
	token := ""
	for _, line := range userLine.FindAllStringSubmatch(string(text), -1) {
		all := routes[token]
		switch {
		case line[1] != "":
			token = line[1]
		case line[2] != "":
			paths, err := regexp.Compile("^(?:" + line[2] + ")$")
			if err != nil {
				return nil, err
			}
			routes[token] = append(all, route{paths: paths})
		default:
			to, err := url.Parse(line[3])
			if err != nil {
				return nil, err
			}
			all[len(all)-1].args = to.Query()
		}
	}
	return func(server http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
			of, known := routes[token]
			if !known {
				http.Error(w, "cannot authorize request with auth tokens", http.StatusUnauthorized)
				return
			}
			for _, route := range of {
				if !route.paths.MatchString(r.URL.Path) {
					continue
				}
				out := r.Clone(r.Context())
				args := out.URL.Query()
				// what the device says of them is replaced
				maps.Copy(args, route.args)
				out.URL.RawQuery = args.Encode()
				server.ServeHTTP(w, out)
				return
			}
			http.Error(w, fmt.Sprintf("missing route for %q", r.URL.Path), http.StatusBadRequest)
		})
	}, nil
}

// Busy passes one of three reads on. The others are answered 422, as by a vmselect whose query has
// timed out, and 429, as by one with too many of them. Each device has its own turns: else another
// one may take all that are passed on.
func Busy() Mode {
	var mu sync.Mutex
	turns := map[string]int{}
	turn := func(r *http.Request) int {
		mu.Lock()
		defer mu.Unlock()
		device := r.Header.Get("Authorization") + r.URL.Query().Get("extra_filters[]")
		turns[device]++
		return turns[device]
	}
	return func(server http.Handler) http.Handler {
		return instead(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch turn(r) % 3 {
			case 1:
				Answer{Status: http.StatusUnprocessableEntity, Hostname: "vmselect", Body: "timeout exceeded during query execution"}.ServeHTTP(w, r)
			case 2:
				Answer{Status: http.StatusTooManyRequests, Hostname: "vmselect", RetryAfter: "10", Body: "too many concurrent requests"}.ServeHTTP(w, r)
			default:
				server.ServeHTTP(w, r)
			}
		}), Query, Export)(server)
	}
}

// Watch notes the token of each request and the status of its answer.
func Watch(note func(token string, status int)) Mode {
	return func(server http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
			noted := &statusNoter{ResponseWriter: w, note: func(status int) { note(token, status) }}
			server.ServeHTTP(noted, r)
		})
	}
}

// statusNoter notes the status when it is written.
type statusNoter struct {
	http.ResponseWriter
	note func(status int)
}

func (n *statusNoter) WriteHeader(status int) {
	n.note(status)
	n.ResponseWriter.WriteHeader(status)
}

// Unwrap is for http.ResponseController.
func (n *statusNoter) Unwrap() http.ResponseWriter { return n.ResponseWriter }
