package httpcache

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"
)

// plainGlob is Glob.Match by the definition, a table of which prefix of the
// pattern matches which prefix of the text.
func plainGlob(pattern, text string) bool {
	reach := make([]bool, len(text)+1)
	reach[0] = true
	for _, p := range []byte(pattern) {
		next := make([]bool, len(text)+1)
		for i := range next {
			if p == '*' {
				next[i] = reach[i] || i > 0 && next[i-1]
			} else {
				next[i] = i > 0 && reach[i-1] && text[i-1] == p
			}
		}
		reach = next
	}
	return reach[len(text)]
}

func FuzzGlob(f *testing.F) {
	for _, seed := range [][2]string{
		{"", ""}, {"*", "a"}, {"a*b*c", "axbxc"}, {"*aa*a", "aa"}, {"ab*ba", "aba"}, {"**a**", "a"}, {"*ab*ab*", "abab"},
	} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, pattern, text string) {
		if len(pattern)*len(text) > 1<<20 {
			return
		}
		glob, want := NewGlob(pattern), plainGlob(pattern, text)
		if got := glob.Match(text); got != want {
			t.Errorf("NewGlob(%q).Match(%q) = %t, want %t", pattern, text, got, want)
		}
		if got := glob.matchBytes([]byte(text)); got != want {
			t.Errorf("NewGlob(%q).matchBytes(%q) = %t, want %t", pattern, text, got, want)
		}
	})
}

var percentEncoded = regexp.MustCompile(`%[0-9A-Fa-f]{2}`)

// plainDecode decodes a name or value of a form.
func plainDecode(s string) string {
	return percentEncoded.ReplaceAllStringFunc(strings.ReplaceAll(s, "+", " "), func(code string) string {
		n, err := strconv.ParseUint(code[1:], 16, 8)
		if err != nil {
			panic(err)
		}
		return string([]byte{byte(n)})
	})
}

// plainReduce is QueryRule.Reduce by the definition.
func plainReduce(rule *QueryRule, query string) string {
	if !rule.Sort && len(rule.Include)+len(rule.Exclude) == 0 {
		return query
	}
	var members []string
	names := make(map[string]string)
	for _, member := range strings.Split(query, "&") {
		if member == "" {
			continue
		}
		name, _, _ := strings.Cut(member, "=")
		name = plainDecode(name)
		is := func(glob Glob) bool { return plainGlob(glob.String(), name) }
		if len(rule.Include) > 0 && !slices.ContainsFunc(rule.Include, is) || slices.ContainsFunc(rule.Exclude, is) {
			continue
		}
		members, names[member] = append(members, member), name
	}
	if rule.Sort {
		slices.SortStableFunc(members, func(a, b string) int { return strings.Compare(names[a], names[b]) })
	}
	return strings.Join(members, "&")
}

func globs(text string) []Glob {
	var globs []Glob
	for _, pattern := range split(text) {
		globs = append(globs, NewGlob(pattern))
	}
	return globs
}

func FuzzQueryRule(f *testing.F) {
	f.Add("", "", false, "a&&b")
	f.Add("", "utm_*\nfbclid", true, "utm_a=1&b=2&a=%41&%75tm_=3&a+b&=")
	f.Add("a*\n%", "ab", true, "ab=1&a%62&%=&%25=1&a%4&ac=%&&a")
	f.Add("*", "", false, "a=b;c=d&é=1&%C3%A9=2")
	f.Fuzz(func(t *testing.T, include, exclude string, sorted bool, query string) {
		if len(include)+len(exclude)+len(query) > 1<<10 {
			return
		}
		rule := &QueryRule{Include: globs(include), Exclude: globs(exclude), Sort: sorted}
		got := rule.Reduce(query)
		if want := plainReduce(rule, query); got != want {
			t.Errorf("include %q exclude %q sort %t: Reduce(%q) = %q, want %q", include, exclude, sorted, query, got, want)
		}
		if again := rule.Reduce(got); again != got {
			t.Errorf("include %q exclude %q sort %t: %q is reduced again to %q", include, exclude, sorted, got, again)
		}
	})
}

// plainText replaces what is no UTF-8 as the Encoding standard does.
func plainText(s string) string {
	var out strings.Builder
	for s != "" {
		r, size := utf8.DecodeRuneInString(s)
		if r == utf8.RuneError && size == 1 {
			// All that could have begun a character is replaced at once.
			for size < len(s) && !utf8.FullRuneInString(s[:size+1]) {
				size++
			}
		}
		out.WriteRune(r)
		s = s[size:]
	}
	return out.String()
}

// plainSearch is a query as draft-ietf-httpbis-no-vary-search §6 compares it.
func plainSearch(query string, names []string, wildcard, unsorted bool) [][2]string {
	var pairs [][2]string
	for _, member := range strings.Split(query, "&") {
		if member == "" {
			continue
		}
		name, value, _ := strings.Cut(member, "=")
		pair := [2]string{plainText(plainDecode(name)), plainText(plainDecode(value))}
		if slices.Contains(names, pair[0]) == wildcard {
			pairs = append(pairs, pair)
		}
	}
	if unsorted {
		slices.SortStableFunc(pairs, func(a, b [2]string) int { return strings.Compare(a[0], b[0]) })
	}
	return pairs
}

func FuzzNoVarySearch(f *testing.F) {
	f.Add("utm\na b", false, true, "b=1&utm=2&a", "a=&b=1&a+b=%")
	f.Add("", true, false, "a", "")
	f.Add("é", true, true, "%C3%A9=1&x&é=%f6", "é=1&%c3%a9=%ef%bf%bd")
	f.Add("a", false, false, "%e6%b0=%ed%a0%80&=", "%ef%bf%bd=%c0%af&=&%f0%90%80x")
	f.Fuzz(func(t *testing.T, list string, wildcard, unsorted bool, a, b string) {
		names := split(list)
		if len(names) > 8 || len(list)+len(a)+len(b) > 1<<10 {
			return
		}
		quoted := make([]string, len(names))
		for i := range names {
			quoted[i] = `"` + url.QueryEscape(names[i]) + `"`
			names[i] = plainText(names[i])
		}
		field := "params=(" + strings.Join(quoted, " ") + ")"
		if wildcard {
			field = "params, except=(" + strings.Join(quoted, " ") + ")"
		}
		if unsorted {
			field += ", key-order"
		}
		rule, ok := ParseNoVarySearch([]string{field})
		if ok == (len(names) == 0 && !wildcard && !unsorted) {
			t.Fatalf("ParseNoVarySearch(%q) = %v, %t", field, rule, ok)
		}
		same := a == b
		if ok {
			same = slices.Equal(plainSearch(a, names, wildcard, unsorted), plainSearch(b, names, wildcard, unsorted))
		}
		x, y := rule.Reduce(a), rule.Reduce(b)
		if (x == y) != same {
			t.Errorf("%s: %q is %q, %q is %q, equivalent %t", field, a, x, b, y, same)
		}
		if again := rule.Reduce(x); again != x {
			t.Errorf("%s: %q is reduced again to %q", field, x, again)
		}
	})
}

func FuzzNoVarySearchField(f *testing.F) {
	for _, seed := range []string{
		"", "params", "params=?0", `key-order, params=("a" "%zz")`, `params, except=("x";y=1);z`, "params\nkey-order=?1",
		`params=("a", b`, "except=()", `params=("\"\\")`, "a=1.5, b=:AAAA:, params=@1, key-order",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		rule, ok := ParseNoVarySearch(split(text))
		if !ok {
			if rule != nil {
				t.Errorf("ParseNoVarySearch(%q) = %s, false", text, rule)
			}
			return
		}
		if len(rule.names) > maxSearchNames || len(text) > maxSearchBytes+strings.Count(text, "\n") {
			t.Errorf("%q is beyond the bounds", text)
		}
		again, ok := ParseNoVarySearch([]string{rule.String()})
		if !ok || again.String() != rule.String() {
			t.Errorf("%q: %q is read back as %v, %t", text, rule, again, ok)
		}
	})
}

func FuzzCDNLoop(f *testing.F) {
	for _, seed := range []string{
		"", "perigee; node=fra-1", `other; x=", perigee`, "a,b;c=d\n\"", `x="\`, `x="\"\"`, ";;,,;node=fra-1", `perigee;node="fra-1"`,
	} {
		f.Add(seed, "fra-1")
	}
	f.Fuzz(func(t *testing.T, text, node string) {
		lines := split(text)
		own, layers := CDNLoop(lines, "perigee", node)
		if own < 0 || own > layers || layers > len(text) {
			t.Errorf("CDNLoop(%q) = %d, %d", lines, own, layers)
		}
		if strings.ContainsFunc(node, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			return // not the name of a node
		}
		more := AppendCDNLoop(lines, "perigee", node)
		if a, b := CDNLoop(more, "perigee", node); a != own+1 || b != layers+1 {
			t.Errorf("CDNLoop(%q) = %d, %d, want %d, %d", more, a, b, own+1, layers+1)
		}
		// A proxy on the way may join the lines, and must not hide us by that.
		joined := []string{strings.Join(more, ", ")}
		if a, _ := CDNLoop(joined, "perigee", node); a == 0 && isToken(node) {
			t.Errorf("CDNLoop(%q) does not see us", joined)
		}
	})
}

func FuzzDigest(f *testing.F) {
	f.Add("sha-3=:AAAA:", []byte("hello"), 2)
	f.Add("sha-256=:LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=:", []byte("hello"), 0)
	f.Add("sha-512=1, x", []byte{}, 0)
	f.Fuzz(func(t *testing.T, field string, content []byte, cut int) {
		cut = min(max(0, cut), len(content))
		agrees := func(header http.Header, content []byte) bool {
			d := NewDigest(Response{Status: 200, Header: header})
			_, _ = d.Write(content[:cut])
			_, _ = d.Write(content[cut:])
			return d.Agrees()
		}
		short, long := sha256.Sum256(content), sha512.Sum512(content)
		right := "sha-256=:" + base64.StdEncoding.EncodeToString(short[:]) + ":"
		longer := "sha-512=:" + base64.StdEncoding.EncodeToString(long[:]) + ":"
		other := append(slices.Clone(content), 'x')
		for _, header := range []http.Header{
			{ReprDigestField: {right}},
			{ContentDigestField: {longer}},
			{ReprDigestField: {right, longer}},
		} {
			if !agrees(header, content) || agrees(header, other) {
				t.Errorf("%v: agrees with %q %t, with more %t", header, content, agrees(header, content), agrees(header, other))
			}
		}
		// A field that another has in it changes nothing for the other field.
		if header := (http.Header{ReprDigestField: split(field), ContentDigestField: {right}}); agrees(header, other) {
			t.Errorf("%v: agrees with %q", header, other)
		}
	})
}

func FuzzMultipart(f *testing.F) {
	f.Add("b1", "bytes=0-1,5-", []byte("hello, world"))
	f.Add("a:b=(c)", "bytes=-3,0-0", []byte("\r\n--a\r\n\r\n"))
	f.Add("x", "bytes=0-,3-9", []byte("0123456789"))
	f.Fuzz(func(t *testing.T, boundary, field string, content []byte) {
		ranges, err := ParseRange(field, int64(len(content)))
		legal := func(r rune) bool {
			return r < 0x80 && (isDigit(byte(r)) || isAlpha(byte(r)) || strings.ContainsRune("'()+_,-./:=?", r))
		}
		if err != nil || boundary == "" || len(boundary) > 70 || strings.Trim(boundary, "-") == "" ||
			strings.ContainsFunc(boundary, func(r rune) bool { return !legal(r) }) || bytes.Contains(content, []byte(boundary)) {
			return
		}
		m := NewMultipart(boundary, "text/plain", ranges, int64(len(content)))
		var body bytes.Buffer
		for i, r := range ranges {
			body.Write(m.Head(i))
			body.Write(content[r.First : r.Last+1])
		}
		body.Write(m.Tail())
		if got := int64(body.Len()); got != m.Length() {
			t.Errorf("%d bytes written, Length %d", got, m.Length())
		}
		_, params, err := mime.ParseMediaType(m.ContentType())
		if err != nil || params["boundary"] != boundary {
			t.Fatalf("%s: boundary %q, %v, want %q", m.ContentType(), params["boundary"], err, boundary)
		}
		reader := multipart.NewReader(&body, boundary)
		for _, r := range ranges {
			part, err := reader.NextRawPart()
			if err != nil {
				t.Fatalf("boundary %q, %q of %q: %v", boundary, field, content, err)
			}
			got, err := io.ReadAll(part)
			if want := content[r.First : r.Last+1]; err != nil || !bytes.Equal(got, want) {
				t.Errorf("boundary %q: part %v is %q, %v, want %q", boundary, r, got, err, want)
			}
			if got, want := part.Header.Get(ContentRangeField), ContentRange(r, int64(len(content))); got != want {
				t.Errorf("part has Content-Range %q, want %q", got, want)
			}
		}
		if _, err := reader.NextRawPart(); err != io.EOF {
			t.Errorf("after the last part: %v", err)
		}
	})
}

// FuzzParts compares sets of ranges with sets of bytes.
func FuzzParts(f *testing.F) {
	f.Add([]byte{0, 3, 6, 9, 4, 5}, byte(2), byte(12))
	f.Add([]byte{}, byte(0), byte(0))
	f.Add([]byte{9, 3, 1, 1, 2, 2}, byte(0), byte(3))
	f.Fuzz(func(t *testing.T, pairs []byte, first, last byte) {
		var stored [256]bool
		var have []ByteRange
		for ; len(pairs) > 1; pairs = pairs[2:] {
			r := ByteRange{int64(pairs[0]), int64(pairs[1])}
			have = Merge(have, r)
			for i := r.First; i <= r.Last; i++ {
				stored[i] = true
			}
		}
		for i, r := range have {
			if r.First > r.Last || i > 0 && r.First <= have[i-1].Last+1 {
				t.Fatalf("%v is not sorted, disjoint and joined", have)
			}
		}
		want := ByteRange{int64(first), int64(last)}
		lacking := Lacking(have, want)
		all := true
		for i := range int64(len(stored)) {
			has := slices.ContainsFunc(have, func(r ByteRange) bool { return r.First <= i && i <= r.Last })
			lacks := slices.ContainsFunc(lacking, func(r ByteRange) bool { return r.First <= i && i <= r.Last })
			asked := want.First <= i && i <= want.Last
			if has != stored[i] || lacks != (asked && !stored[i]) {
				t.Fatalf("byte %d: stored %t, in %v %t; wanted %t, in %v %t", i, stored[i], have, has, asked, lacking, lacks)
			}
			all = all && (!asked || stored[i])
		}
		if got := Covers(have, want); got != all {
			t.Errorf("Covers(%v, %v) = %t, want %t", have, want, got, all)
		}
	})
}
