package httpcache

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

// hostileFields reads "Name: value" lines into a header without any check: what
// net/http would refuse gets through too.
func hostileFields(text string) http.Header {
	h := http.Header{}
	for _, line := range strings.Split(text, "\n") {
		name, value, ok := strings.Cut(line, ":")
		if !ok {
			continue
		}
		h.Add(strings.TrimSpace(name), strings.Trim(value, " "))
	}
	return h
}

// Whatever an origin sends, first and then, nothing panics, nothing that its own
// fields forbid is stored, and what is stored keeps its promises.
func FuzzHostileOrigin(f *testing.F) {
	f.Add("Cache-Control: max-age=60\nEtag: \"a\"", "Etag: \"a\"", "", 200, 206, "/x.css", uint8(0))
	f.Add("Content-Range: bytes 0-4/10\nEtag: \"a\"\nDate: x", "Content-Range: bytes 5-9/10\nEtag: \"a\"", "Range: bytes=0-", 206, 206, "/account%00x.css", uint8(255))
	f.Add("CDN-Cache-Control: max-age=60, a=(1 2);b, c=:YQ==:\nSurrogate-Control: max-age=1+2;x, content=\"", "Cache-Control: no-store", "Accept-Language: de, *;q=.5, en;q=0", 404, 304, "/%", uint8(3))
	f.Add("Vary: Accept-Language, *\nContent-Language: de", "Content-Length: 99999999999999999999\nContent-Length: -1", "If-Range: x", 299, 200, "", uint8(7))
	f.Add("Cache-Groups: \"a\", b, (\"c\")\nCache-Tag: a,b\nLast-Modified: Sun, 06 Nov 1994 08:49:37 GMT", "Last-Modified: Sunday, 06-Nov-94 08:49:37 GMT\nCache-Control: private=\"a", "Cookie: x", 200, 200, "/%2e%2fx.js;%00", uint8(129))
	f.Add("Expires: -1\nAge: "+strings.Repeat("9", 300)+"\nVary: "+strings.Repeat("a,", 100), "Vary: \x00\x01", "Connection: cache-control, vary", -5, 100000, "/\x7f", uint8(64))
	f.Fuzz(func(t *testing.T, fields, later, wishes string, status, laterStatus int, path string, flags uint8) {
		rules := oracleRules(flags)
		rules.DeceptionArmor = flags&3 == 3
		r := &http.Request{Method: "GET", Host: "a.example", Header: hostileFields(wishes), URL: &url.URL{Path: path}}
		if flags&5 == 5 {
			r.Method = "POST"
		}
		resp := Response{
			Status: status, Header: hostileFields(fields), ContentLength: -1, RequestTime: origo, ResponseTime: origo,
			Early: strings.Split(fields, "\n"),
		}
		update := Response{Status: laterStatus, Header: hostileFields(later), ContentLength: -1, RequestTime: origo.Add(time.Hour), ResponseTime: origo.Add(time.Hour)}
		Withheld(&rules, resp)
		GroupInvalidations(NewRequest(r), resp)
		Invalidates(NewRequest(r), resp)
		PartOf(resp)
		s, why := NewStored(&rules, NewRequest(r), resp)
		if (s == nil) != (why != Storable) {
			t.Fatalf("stored %v, refused %s", s, why)
		}
		if s == nil {
			return
		}
		promises(t, s)
		decideAll(&rules, r, s)
		for _, fresh := range updates(&rules, s, NewRequest(r), update) {
			promises(t, fresh)
			decideAll(&rules, r, fresh)
			fresh.SameRepresentation(s)
		}
	})
}

// updates returns what s becomes by each of the ways in which a later response
// may change it.
func updates(rules *Rules, s *Stored, req *Request, update Response) []*Stored {
	var all []*Stored
	if fresh, ok := Freshen(rules, s, req, update); ok {
		all = append(all, fresh)
	}
	if fresh, why := Combine(rules, s, req, update); why == Storable {
		all = append(all, fresh)
	}
	if fresh, ok := UpdateByHead(rules, s, req, 5, update); ok {
		all = append(all, fresh)
	}
	return all
}

func decideAll(rules *Rules, r *http.Request, s *Stored) {
	get := r.Clone(r.Context())
	get.Method = "GET"
	for _, now := range []time.Time{{}, origo, origo.Add(time.Minute), origo.AddDate(300, 0, 0)} {
		req := NewRequest(get)
		Select(req, []variant{{s}, {}, {s}})
		Decide(rules, req, s, now)
		Evaluate(req, s)
	}
	NotModifiedHeader(s)
}

// promises checks what holds for each stored response.
func promises(t *testing.T, s *Stored) {
	t.Helper()
	if s.Status() < 200 || s.Status() == 206 || s.Status() == 304 {
		t.Errorf("stored with status %d", s.Status())
	}
	for _, name := range []string{
		"Connection", "Transfer-Encoding", "Keep-Alive", "Te", "Trailer", "Upgrade", "Age", "Set-Cookie",
		"Surrogate-Control", "Perigee-Cdn-Cache-Control", "Cache-Tag", "Surrogate-Key",
	} {
		if lines, kept := s.Header()[name]; kept {
			t.Errorf("stored %s: %q", name, lines)
		}
	}
	r := s.Reckoning()
	for _, d := range []time.Duration{r.Lifetime, r.InitialAge, r.ApparentAge, r.AgeValue, r.ResponseDelay} {
		if d < 0 || d > maxDuration {
			t.Errorf("reckoned out of bounds: %+v", r)
		}
	}
	if r.InitialAge != min(max(r.ApparentAge, r.AgeValue+r.ResponseDelay), maxDuration) {
		t.Errorf("the parts do not make the age: %+v", r)
	}
	if len(s.Groups()) > maxGroups || len(s.Early()) > maxEarlyLines || len(s.Vary()) > maxVary || s.SizeBytes() < storedBytes {
		t.Errorf("%d groups, %d early lines, %d selecting fields, %d bytes", len(s.Groups()), len(s.Early()), len(s.Vary()), s.SizeBytes())
	}
	for _, line := range s.Early() {
		if strings.ContainsAny(line, "\r\n\x00") {
			t.Errorf("early line %q", line)
		}
	}
	if !validDate(s.Header()[DateField][0], s.ResponseTime()) {
		t.Errorf("stored Date %q is none", s.Header()[DateField])
	}
}

func FuzzTargeted(f *testing.F) {
	for _, seed := range []string{
		"", "max-age=60", "no-store, max-age=1", "max-age=1.5, private=\"a\"", "a=(1 2);x, b=:YQ==:, c=@1, d=%\"x\"", "max-age=60,", "max-age=-", "MAX-AGE=1", "max-age=999999999999999",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		lines := split(text)
		cc, ok := parseTargeted(lines, nil)
		for _, d := range []delta{cc.maxAge, cc.sMaxAge, cc.staleWhileRevalidate, cc.staleIfError} {
			if d < absent || d > maxDelta {
				t.Errorf("%q: delta %d out of bounds", text, d)
			}
		}
		if !ok {
			return
		}
		more, ok := parseTargeted(append(append([]string{}, lines...), "no-store"), nil)
		if !ok || !more.noStore {
			t.Errorf("%q and then no-store: valid %t, no-store %t", text, ok, more.noStore)
		}
	})
}

func FuzzDeception(f *testing.F) {
	for _, seed := range []string{"/account", "/a%252ecss", "/a;b", "/%", "/x%zz", "", "//", "/a.b.c%00"} {
		f.Add(seed)
	}
	html := answer("Content-Type: text/html")
	f.Fuzz(func(t *testing.T, path string) {
		deceptive(&url.URL{Path: path, RawPath: path}, html)
		for _, end := range []string{"x.css", ".css", "%2ecss", ";x.css", "%3bx.css", "%00.css", "%0a.css", "/x.CSS"} {
			uri := &url.URL{Path: path + end, RawPath: path + end}
			if unescaped, err := url.PathUnescape(path + end); err == nil {
				uri.Path = unescaped
			}
			if !deceptive(uri, html) {
				t.Errorf("%q is not seen to end in .css", uri.EscapedPath())
			}
		}
	})
}
