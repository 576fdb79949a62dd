package httpcache

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// languages returns a list of n languages, none of them "en", in falling weights.
func languages(n int) string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf("a%c%c;q=0.%d", 'a'+i%26, 'a'+i/26, 1+i%9)
	}
	return strings.Join(list, ", ")
}

// languageVariants are n responses in English, each stored for another list.
func languageVariants(t testing.TB, n int) []variant {
	t.Helper()
	variants := make([]variant, n)
	for i := range variants {
		resp := answer("Cache-Control: max-age=60", "Vary: Accept-Language", "Content-Language: en")
		variants[i] = variant{mustStore(t, &Rules{}, get(fmt.Sprintf("Accept-Language: en, fr;q=0.%02d1", i)), resp)}
	}
	return variants
}

func BenchmarkSelectLanguages(b *testing.B) {
	variants := languageVariants(b, 64)
	for _, n := range []int{2, maxLanguages, 2 * maxLanguages} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.ReportAllocs()
			r, q := get("Accept-Language: "+languages(n)), new(Request)
			for b.Loop() {
				q.Reset(r)
				if best, ok := Select(q, variants); ok {
					b.Fatal("selected", best)
				}
			}
		})
	}
}

// A field is normalised once, however many variants it is compared with, and again
// only after Reset.
func TestSelectNormalisesOnce(t *testing.T) {
	variants := languageVariants(t, 64)
	r := get("Accept-Language: " + languages(maxLanguages))
	q := new(Request)
	cost := func(variants []variant) float64 {
		return testing.AllocsPerRun(20, func() { q.Reset(r); Select(q, variants) })
	}
	if one, all := cost(variants[:1]), cost(variants); one == 0 || all != one {
		t.Errorf("%v allocations to compare with 1 variant, %v with 64", one, all)
	}
	if again := testing.AllocsPerRun(20, func() { Select(q, variants) }); again > 0 {
		t.Errorf("%v allocations to compare the same request again", again)
	}
}

// Fields beyond those that a request has room for are kept too, and beyond the
// bound they are compared all the same.
func TestSelectByManyFields(t *testing.T) {
	t.Parallel()
	named := func(prefix, value string) (vary string, fields []string) {
		var names []string
		for i := range maxVary {
			names = append(names, fmt.Sprintf("%s-%d", prefix, i))
			fields = append(fields, fmt.Sprintf("%s-%d: a%s%d", prefix, i, value, i))
		}
		return "Vary: " + strings.Join(names, ", "), fields
	}
	var variants []variant
	var spaced, other []string
	for _, prefix := range []string{"A", "B", "C"} {
		vary, plain := named(prefix, ", b")
		variants = append(variants, variant{mustStore(t, &Rules{}, get(plain...), answer("Cache-Control: max-age=60", vary))})
		_, fields := named(prefix, ",b")
		spaced = append(spaced, fields...)
		_, fields = named(prefix, ",c")
		other = append(other, fields...)
	}
	q := NewRequest(get(spaced...))
	for i, v := range variants {
		if got := v.s.fit(q); got != exact {
			t.Errorf("variant %d: fit %d, want %d", i, got, exact)
		}
	}
	if q.normals.count != fewNormals || len(q.normals.more) != moreNormals {
		t.Errorf("%d and %d fields kept, want %d and %d", q.normals.count, len(q.normals.more), fewNormals, moreNormals)
	}
	if _, ok := Select(NewRequest(get(other...)), variants); ok {
		t.Error("selected by other fields")
	}
}

// What was stored for the very list goes before what is newer and in the language.
func TestSelectExactBeforeLanguage(t *testing.T) {
	t.Parallel()
	store := func(list, language string, later time.Duration) variant {
		resp := answer("Cache-Control: max-age=60", "Vary: Accept-Language", "Content-Language: "+language,
			"Date: "+origo.Add(later).Format(http.TimeFormat))
		return variant{mustStore(t, &Rules{}, get("Accept-Language: "+list), resp)}
	}
	own, newer := store("en, de;q=0.5", "en", 0), store("en, fr;q=0.5", "en", time.Second)
	newest, malformed := store("en", "en", 2*time.Second), store("x;<script>", "en", 3*time.Second)
	german := store("de, en;q=0.5", "de", 4*time.Second)
	for _, test := range []struct {
		list     string
		variants []variant
		want     variant
	}{
		{"en, de;q=0.5", []variant{own, newer, newest}, own},
		{"en, de;q=0.5", []variant{newest, newer, own}, own},
		{"de;q=0.50,EN", []variant{newer, own, newest}, own},
		{"en, de;q=0.5", []variant{newer, newest}, newest},
		{"en, de;q=0.5", []variant{newest, newer}, newest},
		{"en, de;q=0.5", []variant{own, malformed}, own},
		{"en, de;q=0.5", []variant{malformed, german}, variant{}},
		{"x;<script>", []variant{own, malformed, german}, malformed},
		{"de, en;q=0.9", []variant{own, newer, german}, german},
	} {
		req := NewRequest(get("Accept-Language: " + test.list))
		got, ok := Select(req, test.variants)
		if got != test.want || ok != (test.want.s != nil) {
			t.Errorf("%q of %v: %v, %t, want %v", test.list, test.variants, got, ok, test.want)
		}
		if ok && Decide(&Rules{}, req, got.s, origo).Reason != Fresh {
			t.Errorf("%q: what was selected is not used", test.list)
		}
	}
}

// Fields that the origin never gets select nothing.
func TestHide(t *testing.T) {
	t.Parallel()
	calls := 0
	dropped := func(name string) bool {
		calls++
		return name == "X-Device" || name == acceptLanguageField
	}
	hiding := func(fields ...string) *Request {
		q := NewRequest(get(fields...))
		q.Hide(dropped)
		return q
	}
	resp := answer("Cache-Control: max-age=60", "Vary: X-Device, X-A, Accept-Language", "Content-Language: en")
	s, why := NewStored(&Rules{}, hiding("X-Device: 1", "X-A: 1", "Accept-Language: en"), resp)
	if why != Storable {
		t.Fatal(why)
	}
	want := []Selecting{{Name: "accept-language"}, {"x-a", "1", true}, {Name: "x-device"}}
	if diff := cmp.Diff(want, s.Selecting()); diff != "" {
		t.Errorf("Selecting (-want +got):\n%s", diff)
	}
	variants := []variant{{s}}
	for _, test := range []struct {
		name string
		req  *Request
		want bool
	}{
		{"other values of hidden fields", hiding("X-Device: 2", "X-A: 1", "Accept-Language: de"), true},
		{"none of them", hiding("X-A: 1"), true},
		{"seen", NewRequest(get("X-Device: 1", "X-A: 1")), false},
		{"other value of a field that is not hidden", hiding("X-A: 2"), false},
	} {
		if _, ok := Select(test.req, variants); ok != test.want {
			t.Errorf("%s: selected %t, want %t", test.name, ok, test.want)
		}
		if same := VariantOf(s.Vary(), test.req) == s.Variant(); same != test.want {
			t.Errorf("%s: same variant %t, want %t", test.name, same, test.want)
		}
	}
	calls = 0
	plain := mustStore(t, &Rules{}, get(), answer("Cache-Control: max-age=60"))
	if _, ok := Select(hiding("X-Device: 3"), []variant{{plain}}); !ok || calls > 0 {
		t.Errorf("a response that does not vary: selected %t with %d questions", ok, calls)
	}
}

// Hide, its end and Reset forget what was compared before.
func TestHideForgets(t *testing.T) {
	t.Parallel()
	s := mustStore(t, &Rules{}, get(), answer("Cache-Control: max-age=60", "Vary: X-Device"))
	q := NewRequest(get("X-Device: 1,2"))
	all := func(string) bool { return true }
	for i, step := range []struct {
		do   func()
		want Reason
	}{
		{func() {}, VaryMiss},
		{func() { q.Hide(all) }, Fresh},
		{func() { q.Hide(nil) }, VaryMiss},
		{func() { q.Hide(all); Select(q, []variant{{s}}); q.Hide(nil) }, VaryMiss},
		{func() { q.Hide(all); q.Reset(get("X-Device: 1,2")) }, VaryMiss},
		{func() { q.Reset(get()) }, Fresh},
		{func() { Select(q, []variant{{s}}); q.Reset(get("X-Device: 1,2")) }, VaryMiss},
	} {
		step.do()
		if got := Decide(&Rules{}, q, s, origo).Reason; got != step.want {
			t.Errorf("step %d: %s, want %s", i, got, step.want)
		}
	}
}

func TestDropConnectionFields(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		connection []string
		gone       []string
	}{
		{nil, nil},
		{[]string{"close"}, nil},
		{[]string{"keep-alive, Upgrade", "TE"}, nil},
		{[]string{"x-tenant"}, []string{"X-Tenant"}},
		{[]string{"close", "Keep-Alive, COOKIE , x-tenant,"}, []string{"Cookie", "X-Tenant"}},
		{[]string{"Connection, upgrade, te, Host, Cache-Control, CDN-Loop"}, nil},
		{[]string{"X-Absent, X Tenant, \"X-Tenant\""}, nil},
		{[]string{"X-To\u212aen, \u017f"}, nil}, // K and ſ fold to ASCII letters
		{[]string{"Expect, Authorization"}, []string{"Authorization"}},
	} {
		given := get("Upgrade: websocket", "Te: trailers", "X-Tenant: a", "Cookie: a=1", "Cache-Control: no-cache", "Cdn-Loop: a",
			"Authorization: x", "X-Token: t", "S: s", "Host: h").Header
		if test.connection != nil {
			given[ConnectionField] = test.connection
		}
		want, forwarded := given.Clone(), ForwardHeader(given)
		for _, name := range test.gone {
			delete(want, name)
		}
		DropConnectionFields(given)
		if diff := cmp.Diff(want, given); diff != "" {
			t.Errorf("Connection %q (-want +got):\n%s", test.connection, diff)
		}
		given.Del(ConnectionField) // all that it names is gone
		if diff := cmp.Diff(forwarded, ForwardHeader(given)); diff != "" {
			t.Errorf("Connection %q: what is forwarded (-before +after):\n%s", test.connection, diff)
		}
	}
}

func TestDropConnectionFieldsIsFree(t *testing.T) {
	for _, connection := range []string{"", "close", "keep-alive", "Keep-Alive, Upgrade"} {
		h := browserGet().Header
		if h.Set(ConnectionField, connection); connection == "" {
			h.Del(ConnectionField)
		}
		if got := testing.AllocsPerRun(20, func() { DropConnectionFields(h) }); got > 0 {
			t.Errorf("Connection %q: %v allocations", connection, got)
		}
	}
}

// However Connection is written, the law and the origin see the same fields.
func FuzzDropConnectionFields(f *testing.F) {
	f.Add("x-tenant", "x-tenant")
	f.Add("close, X-Tenant\nte, upgrade", "cookie")
	f.Add("X-To\u212aen", "x-token")
	f.Add("\"x-tenant\", x tenant", "te")
	f.Fuzz(func(t *testing.T, connection, name string) {
		key := http.CanonicalHeaderKey(name)
		if !isToken(key) || key == ConnectionField || key == hostField {
			return
		}
		r := get()
		r.Header[ConnectionField], r.Header[key] = split(connection), []string{"1"}
		before, forwarded := NewRequest(r).values(key), ForwardHeader(r.Header)
		if _, passed := forwarded[key]; !hopByHop(key) && key != "Expect" && passed != (before != nil) {
			t.Errorf("Connection %q: %s is forwarded: %t, seen by the law: %q", connection, key, passed, before)
		}
		DropConnectionFields(r.Header)
		if after := NewRequest(r).values(key); len(after) != len(before) {
			t.Errorf("Connection %q: the law saw %s: %q and sees %q", connection, key, before, after)
		}
		r.Header.Del(ConnectionField) // all that it names is gone
		if diff := cmp.Diff(forwarded, ForwardHeader(r.Header)); diff != "" {
			t.Errorf("Connection %q, %s: what is forwarded (-before +after):\n%s", connection, key, diff)
		}
	})
}

func TestSameSearch(t *testing.T) {
	t.Parallel()
	store := func(lines ...string) *Stored {
		resp := answer("Cache-Control: max-age=60", `Etag: "a"`)
		if lines != nil {
			resp.Header[NoVarySearchField] = lines
		}
		return mustStore(t, &Rules{}, get(), resp)
	}
	for _, test := range []struct {
		a, b []string
		want bool
	}{
		{nil, nil, true},
		{nil, []string{""}, true},
		{nil, []string{"params=()"}, true},
		{nil, []string{"params=1"}, true}, // not understood
		{nil, []string{"params"}, false},
		{[]string{"params"}, []string{"params"}, true},
		{[]string{"params"}, []string{"params=?1"}, true},
		{[]string{`params=("a" "b")`}, []string{`params=("b"  "a" "%61")`}, true},
		{[]string{`params=("a")`, "key-order"}, []string{`key-order, params=("a")`}, true},
		{[]string{`params=("a")`}, []string{`params=("b")`}, false},
		{[]string{`params=("a")`}, []string{`params=("a"), key-order`}, false},
		{[]string{`params=("a")`}, []string{`params, except=("a")`}, false},
	} {
		a, b := store(test.a...), store(test.b...)
		if got := SameSearch(a, b); got != test.want || SameSearch(b, a) != got {
			t.Errorf("%q and %q: same %t, want %t", test.a, test.b, got, test.want)
		}
	}
	// A 304 replaces the field if it has one.
	old := store(`params=("utm")`)
	for _, test := range []struct {
		fields []string
		want   bool
	}{
		{nil, true},
		{[]string{`No-Vary-Search: params=( "utm" )`}, true},
		{[]string{"No-Vary-Search: params=()"}, false},
		{[]string{"No-Vary-Search: params"}, false},
	} {
		update := answer(append(test.fields, "Cache-Control: max-age=60")...)
		update.Status = http.StatusNotModified
		fresh, ok := Freshen(&Rules{}, old, nil, update)
		if !ok {
			t.Fatalf("304 with %q is refused", test.fields)
		}
		if got := SameSearch(old, fresh); got != test.want {
			t.Errorf("304 with %q: same %t, want %t", test.fields, got, test.want)
		}
	}
}

// Letters that fold to ASCII ones are others to an origin, and so are bytes that
// are no text.
func TestNormalFormFoldsASCIIAlone(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ key, one, other string }{
		{acceptLanguageField, "ko", "\u212ao"},
		{acceptLanguageField, "ko, en;q=0.5", "\u212ao, en;q=0.5"},
		{acceptLanguageField, "x\xff", "x\xfe"},
		{acceptLanguageField, "\u00c4", "\u00e4"},
		{"Accept-Charset", "koi8-r", "\u212aoi8-r"},
		{AcceptEncodingField, "zstd", "z\u017ftd"},
	} {
		if one, other := normalValue(test.key, []string{test.one}), normalValue(test.key, []string{test.other}); one == other {
			t.Errorf("%s: %q and %q are both %q", test.key, test.one, test.other, one)
		}
	}
	if got, want := normalValue("Accept-Charset", []string{"UTF-8, KOI8-R"}), "utf-8, koi8-r"; got != want {
		t.Errorf("Accept-Charset: %q, want %q", got, want)
	}
}
