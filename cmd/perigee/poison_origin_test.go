package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"

	"perigee/httpcache"
)

// weakOrigin is an application that is wrong about everything it may be wrong about:
// what it is asked stands in what it answers, and it lets all of that be stored.
type weakOrigin struct {
	mu       sync.Mutex
	answer   map[string]string // of the case that runs
	requests []string          // as it got them
}

// legitimate are fields that differ between innocent clients. That an answer depends
// on them an origin has to say by Vary, and no cache can know; or they are ours.
var legitimate = []string{
	"Accept", "Accept-Encoding", "Accept-Language", "Authorization", "Cookie", "Origin", "Referer", "User-Agent",
	"Via", "X-Forwarded-For",
}

// runs makes the origin answer as a case says.
func (o *weakOrigin) runs(answer map[string]string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.answer, o.requests = answer, nil
}

// asked returns what the origin has got since the case began.
func (o *weakOrigin) asked() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.requests)
}

// note remembers a request, and says how to answer it and what to reflect.
func (o *weakOrigin) note(r *http.Request) (answer map[string]string, nth int, text string) {
	body, err := io.ReadAll(r.Body)
	all, text := reflection(r, body, nil), reflection(r, body, legitimate)
	if err != nil {
		text += err.Error()
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.requests = append(o.requests, all)
	return o.answer, len(o.requests), text
}

// reflection is a request as it came, but for the fields to leave out.
func reflection(r *http.Request, body []byte, without []string) string {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s %s\nhost: %s\n", r.Method, r.RequestURI, r.Proto, r.Host)
	names := make([]string, 0, len(r.Header))
	for name := range r.Header {
		if !slices.Contains(without, name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		fmt.Fprintf(&b, "%s: %q\n", name, r.Header[name])
	}
	b.Write(body)
	return b.String()
}

// ServeHTTP implements [http.Handler].
func (o *weakOrigin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	answer, nth, text := o.note(r)
	h := w.Header()
	lifetime, said := answer["cc"]
	if !said {
		lifetime = "max-age=600"
	}
	if first, has := answer["first"]; has && nth == 1 {
		lifetime = first
	}
	if lifetime != "" {
		h.Set(httpcache.CacheControlField, lifetime)
	}
	h.Set("Content-Type", "text/plain")
	for _, name := range []string{"Vary", "ETag", "Set-Cookie"} {
		if value := answer[strings.ToLower(name)]; value != "" {
			h.Set(name, value)
		}
	}
	text = o.depends(h, r, answer, text)
	if method := overridden(r); answer["override"] != "" && method != http.MethodGet && method != http.MethodHead {
		answer = map[string]string{"status": answer["override"]}
	}
	if limit, err := strconv.Atoi(answer["limit"]); err == nil && len(reflection(r, nil, nil)) > limit {
		answer, text = map[string]string{"status": "400"}, "too large for this origin"
	}
	for name, status := range map[string]string{"Range": "416", "If-Match": "412", "Content-Type": "406"} {
		if answer["refuses"] == name && r.Header.Get(name) != "" {
			answer, text = map[string]string{"status": status}, "refused by this origin"
		}
	}
	if inm := r.Header.Get("If-None-Match"); answer["conditional"] != "" && inm != "" {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	if answer["ranges"] != "" && r.Header.Get("Range") != "" {
		h.Set("Content-Range", fmt.Sprintf("bytes 0-3/%d", len(text)))
		w.WriteHeader(http.StatusPartialContent)
		text = text[:4]
	} else if status, err := strconv.Atoi(answer["status"]); err == nil {
		w.WriteHeader(status)
	}
	_, _ = io.WriteString(w, text)
}

// depends makes the answer depend on more of the request, as the case asks.
func (o *weakOrigin) depends(h http.Header, r *http.Request, answer map[string]string, text string) string {
	if answer["location"] != "" {
		host := r.Host
		if forwarded := r.Header.Get("X-Forwarded-Host"); forwarded != "" {
			host = forwarded
		}
		h.Set("Location", "https://"+host+r.RequestURI)
	}
	for _, name := range strings.Split(answer["shows"], ",") {
		if name != "" {
			text += fmt.Sprintf("%s is %q\n", name, strings.Join(r.Header[name], ","))
		}
	}
	if answer["encode"] != "" {
		coding := "plain"
		for _, each := range []string{"gzip", "br", "deflate"} {
			if strings.Contains(r.Header.Get(httpcache.AcceptEncodingField), each) {
				coding = each
				h.Set("Content-Encoding", each)
				break
			}
		}
		text += "coded " + coding
	}
	return text
}

// overridden is the method that the request asks to be taken for.
func overridden(r *http.Request) string {
	for _, name := range []string{"X-Http-Method", "X-Http-Method-Override", "X-Method-Override"} {
		if method := r.Header.Get(name); method != "" {
			return method
		}
	}
	if method := r.URL.Query().Get("_method"); method != "" {
		return method
	}
	return r.Method
}
