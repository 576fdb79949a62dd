package httpcache

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// split makes lines of a fuzzed field value.
func split(text string) []string {
	if text == "" {
		return nil
	}
	return strings.Split(text, "\n")
}

func FuzzDirectives(f *testing.F) {
	for _, seed := range []string{
		"", "max-age=60", "MAX-AGE=\"60\"", "max-age=60, s-maxage=1\nno-store", `private="a, b", no-cache=c`,
		`ext="a\", no-store", max-age=1`, "max-age=99999999999999999999, max-age=-1", "max-age =1,,;=", `private="`,
		"stale-while-revalidate=1, stale-if-error=2, must-understand, proxy-revalidate, public",
		"max-stale, max-stale=1, min-fresh=2, only-if-cached",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		lines := split(text)
		cc := parseResponseDirectives(lines, nil)
		request := parseRequestDirectives(lines)
		for _, d := range []delta{
			cc.maxAge, cc.sMaxAge, cc.staleWhileRevalidate, cc.staleIfError,
			request.maxAge, request.minFresh, request.maxStale,
		} {
			if d < absent || d > maxDelta {
				t.Errorf("%q: delta %d out of bounds", text, d)
			}
		}
		for _, name := range slices.Concat(cc.privateFields, cc.noCacheFields) {
			if !isToken(name) || name != strings.ToLower(name) {
				t.Errorf("%q: qualified name %q", text, name)
			}
		}
		// Whoever adds a directive can only forbid more, and never lengthen a
		// lifetime that there is.
		more := parseResponseDirectives(append(slices.Clone(lines), "no-store", "max-age=5"), nil)
		if !more.noStore || cc.maxAge.present() && more.maxAge > cc.maxAge || more.maxAge > 5 {
			t.Errorf("%q: no-store %t, max-age %d of %d", text, more.noStore, more.maxAge, cc.maxAge)
		}
		if cc.noStore != parseResponseDirectives([]string{strings.Join(lines, "\t,\t")}, nil).noStore && !strings.ContainsAny(text, "\"") {
			t.Errorf("%q: no-store depends on how lines are joined", text)
		}
	})
}

func FuzzDateAndAge(f *testing.F) {
	f.Add("Sun, 06 Nov 1994 08:49:37 GMT", "15", "0")
	f.Add("Sunday, 06-Nov-94 08:49:37 GMT", "15, 3", "-1")
	f.Add("Sun Nov  6 08:49:37 1994", "-5", "Thu, 18 Aug 2050 02:01:18 UTC")
	f.Add("", "99999999999999999999", "Fri, 31 Dec 9999 23:59:59 GMT")
	f.Add("Thu, 01 Jan 0000 00:00:00 GMT", "abc", "Monday, 29-Feb-00 00:00:00 GMT")
	f.Fuzz(func(t *testing.T, date, age, expires string) {
		if parsed, ok := parseDate(date, origo); ok && parsed.Location() != time.UTC {
			t.Errorf("%q: not in UTC: %s", date, parsed)
		}
		resp := answer("Etag: \"a\"")
		resp.Header["Date"], resp.Header["Age"], resp.Header["Expires"] = split(date), split(age), split(expires)
		s, why := NewStored(&Rules{}, NewRequest(get()), resp)
		if why != Storable {
			t.Fatalf("refused: %s", why)
		}
		if s.initialAge < 0 || s.initialAge > maxDuration || s.lifetime < 0 || s.lifetime > maxDuration {
			t.Errorf("date %q age %q expires %q: initial age %s, lifetime %s", date, age, expires, s.initialAge, s.lifetime)
		}
		previous := time.Duration(-1)
		for _, now := range []time.Time{{}, origo, origo.Add(time.Second), origo.AddDate(500, 0, 0)} {
			current := s.Age(now)
			if current < previous || current < s.initialAge || current > maxDuration {
				t.Errorf("age %s after %s at %s", current, previous, now)
			}
			previous = current
		}
		if !validDate(s.header["Date"][0], origo) {
			t.Errorf("stored Date %q is none", s.header["Date"])
		}
	})
}

func FuzzRange(f *testing.F) {
	for _, seed := range []string{"bytes=0-1", "bytes=-5", "bytes=5-,0-3 , -1", "bytes=9-1", "lines=1-2", "bytes=,,", "bytes=99999999999999999999-"} {
		f.Add(seed, int64(100))
		f.Add(seed, int64(0))
	}
	f.Fuzz(func(t *testing.T, field string, size int64) {
		if size < 0 {
			return
		}
		ranges, err := ParseRange(field, size)
		if (err == nil) != (len(ranges) > 0) || err != nil && err != ErrMalformed && err != ErrUnsatisfiable {
			t.Fatalf("ParseRange(%q, %d) = %v, %v", field, size, ranges, err)
		}
		if len(ranges) > maxRangeParts {
			t.Errorf("%q: %d parts", field, len(ranges))
		}
		var total int64
		for i, r := range ranges {
			if r.First < 0 || r.First > r.Last || r.Last >= size {
				t.Errorf("%q of %d: %v", field, size, r)
			}
			total += r.Length()
			for _, other := range ranges[:i] {
				if r.First <= other.Last && other.First <= r.Last {
					t.Errorf("%q: %v and %v overlap", field, r, other)
				}
			}
		}
		if total > size {
			t.Errorf("%q of %d: %d bytes in all", field, size, total)
		}
	})
}

func FuzzVary(f *testing.F) {
	f.Add("Accept-Encoding, Foo", "gzip, br", "1, 2", "gzip;q=0")
	f.Add("*", "", "", "")
	f.Add("foo\nBAR,,foo", "a,b", "a ,b", "a, b")
	f.Add("cookie,user-agent,accept-language", "EN, fr", "\"a,b\"", "x")
	f.Fuzz(func(t *testing.T, vary, first, second, third string) {
		names, why := varyNames(split(vary))
		if why != Storable {
			if names != nil {
				t.Errorf("%q refused as %s with names %q", vary, why, names)
			}
			return
		}
		if !slices.IsSorted(names) || len(slices.Compact(slices.Clone(names))) != len(names) || len(names) > maxVary {
			t.Errorf("%q: names %q", vary, names)
		}
		for _, value := range []string{first, second, third} {
			for _, key := range []string{"Foo", "Cookie", "Accept-Language", AcceptEncodingField} {
				normal := normalValue(key, split(value))
				if normal == noValue {
					continue
				}
				if again := normalValue(key, []string{normal}); again != normal {
					t.Errorf("%s: %q has normal value %q, and that has %q", key, value, normal, again)
				}
			}
		}
		requests := make([]*Request, 0, 3)
		for _, value := range []string{first, second, third} {
			r := get()
			for _, key := range canonicalNames(names) {
				if key != hostField && key != ConnectionField && key != authorizationField {
					r.Header[key] = split(value)
				}
			}
			requests = append(requests, NewRequest(r))
		}
		resp := answer("Cache-Control: max-age=60")
		resp.Header["Vary"] = split(vary)
		for _, by := range requests {
			s, why := NewStored(&Rules{}, by, resp)
			if why != Storable {
				t.Fatalf("vary %q refused: %s", vary, why)
			}
			if !s.matches(by) || s.Variant() != VariantOf(s.Vary(), by) {
				t.Errorf("vary %q: a response does not match its own request", vary)
			}
			for _, other := range requests {
				if s.matches(other) != (s.Variant() == VariantOf(s.Vary(), other)) {
					t.Errorf("vary %q of %q: match and variant disagree", vary, []string{first, second, third})
				}
			}
		}
	})
}

func FuzzAcceptEncoding(f *testing.F) {
	for _, seed := range []string{"", "gzip, deflate, br, zstd", "*;q=0", "br;q=1.0\ngzip;q=0.000", "x-gzip ; Q=0"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		normal := NormalAcceptEncoding(split(text))
		if !slices.Contains(codingNames[:], normal) {
			t.Errorf("%q: %q is no normal form", text, normal)
		}
		if again := NormalAcceptEncoding([]string{normal}); again != normal {
			t.Errorf("%q: %q becomes %q", text, normal, again)
		}
	})
}

func FuzzNormalPath(f *testing.F) {
	for _, seed := range []string{"/", "/a/../b", "/%2e%2e/%2F", "/a//b/.", "/%zz", "/é?", "/..;/x", "/a%00", "/%25%32%65"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, path string) {
		normal, ok := NormalPath(path)
		if !ok {
			if normal != "" {
				t.Errorf("%q refused with %q", path, normal)
			}
			return
		}
		if again, ok := NormalPath(normal); !ok || again != normal {
			t.Errorf("%q has normal form %q, and that has %q, %t", path, normal, again, ok)
		}
		if !strings.HasPrefix(normal, "/") {
			t.Errorf("%q has normal form %q", path, normal)
		}
		for i, segment := range strings.Split(normal, "/") {
			if segment == "." || segment == ".." {
				t.Errorf("%q: segment %d of %q", path, i, normal)
			}
		}
		for i := range len(normal) {
			if c := normal[i]; !isPathChar(c) && c != '%' {
				t.Errorf("%q: %q in %q", path, c, normal)
			}
		}
	})
}

func FuzzCanonicalHost(f *testing.F) {
	for _, seed := range []string{"Example.com:80", "[::1]:80", "[::FFFF:1.2.3.4]", "a..b", ".", "a:b:c", "[fe80::1%eth0]", "xn--a.b."} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, hostport string) {
		host, ok := CanonicalHost(hostport)
		if !ok {
			if host != "" {
				t.Errorf("%q refused with %q", hostport, host)
			}
			return
		}
		for _, same := range []string{host, host + ":443", strings.ToUpper(host)} {
			if again, ok := CanonicalHost(same); !ok || again != host {
				t.Errorf("%q is %q, but %q is %q, %t", hostport, host, same, again, ok)
			}
		}
		if strings.ContainsAny(host, "/@?#%\\ \x00") || len(host) > maxHostBytes {
			t.Errorf("%q is %q", hostport, host)
		}
	})
}

func FuzzETags(f *testing.F) {
	f.Add(`"a", W/"b"`, `"a"`)
	f.Add(`*`, `W/"a"`)
	f.Add(`"a,b" , ,"c\"`, `"c\"`)
	f.Add(`w/"a", a`, `""`)
	f.Fuzz(func(t *testing.T, list, tag string) {
		if !validETag(tag) {
			listsETag(split(list), func(string) bool { return false })
			return
		}
		weak := func(other string) bool { return weakMatch(other, tag) }
		if !listsETag([]string{tag + ", " + list}, weak) || !listsETag([]string{tag}, weak) {
			t.Errorf("%q is not found in a list that it begins", tag)
		}
		strong := strongMatch(tag, tag)
		if strong == strings.HasPrefix(tag, weakPrefix) || !weakMatch(tag, tag) {
			t.Errorf("%q compares with itself: strong %t", tag, strong)
		}
		if listsETag(split(list), func(other string) bool { return strongMatch(other, tag) }) && !listsETag(split(list), weak) {
			t.Errorf("%q matches %q strongly but not weakly", tag, list)
		}
	})
}

// The short way of Decide is an abbreviation of the long one and no second law.
func FuzzDecideShortWay(f *testing.F) {
	f.Add("max-age=60", "", "", "", "", int64(30e9), true, false)
	f.Add("max-age=60", "15", "", "", "no-cache", int64(45e9), true, true)
	f.Add("s-maxage=1, stale-while-revalidate=9", "", "Foo", "1", "", int64(5e9), true, true)
	f.Add("no-cache", "", "", "", "max-stale", int64(-5e9), false, true)
	f.Add("max-age=99999999999", "2147483648", "", "", "", int64(1), false, false)
	f.Add("must-revalidate", "", "Accept-Encoding", "gzip", "only-if-cached", int64(1<<62), false, true)
	f.Fuzz(func(t *testing.T, cacheControl, age, vary, value, request string, after int64, get200, honour bool) {
		rules := &Rules{HonourRequest: honour, DefaultTTL: time.Minute, StaleIfError: time.Minute}
		resp := answer("Etag: \"a\"")
		resp.Header["Cache-Control"], resp.Header["Age"], resp.Header["Vary"] = split(cacheControl), split(age), split(vary)
		s, why := NewStored(rules, NewRequest(get("Foo: 1")), resp)
		if why != Storable {
			return
		}
		r := get()
		r.Header["Foo"], r.Header["Cache-Control"] = split(value), split(request)
		if !get200 {
			r.Method = "HEAD"
		}
		now := origo.Add(time.Duration(after))
		instants := []time.Time{now}
		if !s.plainUntil.IsZero() {
			instants = append(instants, s.plainUntil, s.plainUntil.Add(-1), s.plainUntil.Add(1))
		}
		for _, now := range instants {
			short, long := Decide(rules, NewRequest(r), s, now), decide(rules, NewRequest(r), s, now)
			if short != long {
				t.Errorf("%q at %s: short way %+v, long way %+v", cacheControl, now, short, long)
			}
			if (short.Action == Serve || short.Action == ServeStale) && !s.matches(NewRequest(r)) {
				t.Errorf("served a response of other selecting fields: %+v", short)
			}
			if short.Action == Serve && short.TTL <= 0 && !honour {
				t.Errorf("served stale: %+v", short)
			}
		}
	})
}

// No response that forbids it is ever stored, and none keeps a field of the
// connection, whatever else stands beside it.
func FuzzNewStored(f *testing.F) {
	f.Add("max-age=60", "X-A", "a=1", 200)
	f.Add(`private="x-a", public`, "close, Cache-Control", "", 404)
	f.Fuzz(func(t *testing.T, cacheControl, connection, cookie string, status int) {
		resp := answer("X-A: 1", "Transfer-Encoding: chunked", "Age: 1", "Xkey: t", "Etag: \"a\"")
		resp.Status = status
		resp.Header["Cache-Control"] = split(cacheControl)
		resp.Header["Connection"] = split(connection)
		resp.Header["Set-Cookie"] = split(cookie)
		s, why := NewStored(&Rules{}, NewRequest(get()), resp)
		if (s == nil) != (why != Storable) {
			t.Fatalf("stored %v, refused %s", s, why)
		}
		resp.Header["Cache-Control"] = append(split(cacheControl), "no-store")
		if s, _ := NewStored(&Rules{}, NewRequest(get()), resp); s != nil && !parseResponseDirectives(resp.Header["Cache-Control"], resp.Header).mustUnderstand {
			t.Errorf("%q with no-store is stored", cacheControl)
		}
		if s == nil {
			return
		}
		for _, name := range []string{"Connection", "Transfer-Encoding", "Age", "Xkey"} {
			if lines := s.Header()[name]; lines != nil {
				t.Errorf("stored %s: %q", name, lines)
			}
		}
		if lines := s.Header()["Set-Cookie"]; len(lines) > 0 {
			t.Errorf("stored cookies %q", lines)
		}
		if http.StatusText(s.Status()) == "" && s.Status() < 200 {
			t.Errorf("stored status %d", s.Status())
		}
	})
}
