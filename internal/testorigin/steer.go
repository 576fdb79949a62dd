package testorigin

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

// steer answers the paths that begin with /_ (doc.go lists them).
func (o *Origin) steer(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	path := query.Get("path")
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	verb, target, _ := strings.Cut(r.URL.Path[2:], "/")
	switch verb {
	case "hits":
		fmt.Fprintln(w, o.hits(path, query.Get("uri")))
	case "304":
		fmt.Fprintln(w, o.notModified(path))
	case "max":
		fmt.Fprintln(w, o.Most())
	case "requests":
		o.show(w, path, query.Get("n"))
	case "set":
		a, _, err := ParseAnswer(query)
		if err != nil {
			http.Error(w, "testorigin: "+err.Error(), http.StatusBadRequest)
			return
		}
		o.Script("/"+target, a)
		fmt.Fprintln(w, "ok")
	case "unset":
		o.Unscript("/" + target)
		fmt.Fprintln(w, "ok")
	case "hold":
		o.Hold(path)
		fmt.Fprintln(w, "ok")
	case "release":
		o.release(path, nil)
		fmt.Fprintln(w, "ok")
	case "waiting":
		fmt.Fprintln(w, o.Waiting(path))
	case "reset":
		o.Reset()
		fmt.Fprintln(w, "ok")
	default:
		http.Error(w, "testorigin: unknown "+r.URL.Path, http.StatusNotFound)
	}
}

func (o *Origin) hits(path, uri string) int {
	switch {
	case path != "":
		return o.Hits(path)
	case uri != "":
		return o.HitsURI(uri)
	}
	return o.Total()
}

func (o *Origin) notModified(path string) int {
	if path != "" {
		return o.NotModified(path)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.total304
}

// show writes the last requests, all or the last n, of path if it is not empty.
func (o *Origin) show(w http.ResponseWriter, path, n string) {
	var texts []string
	for _, r := range o.Requests() {
		if path == "" || r.Path == path {
			texts = append(texts, echo(r))
		}
	}
	if last, err := strconv.Atoi(n); err == nil && last >= 0 && last < len(texts) {
		texts = texts[len(texts)-last:]
	}
	fmt.Fprint(w, strings.Join(texts, "\n"))
}
