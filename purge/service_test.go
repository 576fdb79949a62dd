package purge

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"perigee/cachestore"
)

// hits tells whether a response that was born before everything is struck.
func (r *rig) hits(s cachestore.Subject) bool {
	var checked atomic.Uint64
	return r.ledger.Judge(cachestore.Birth{}, r.ledger.Marks(s), &checked) != cachestore.Valid
}

func TestAppliedBeforeTheAnswer(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	subject := cachestore.Subject{Site: siteWWW, Scheme: "http", Host: siteWWW, Path: "/a", Query: "x=1"}
	for i := range 100 {
		path := fmt.Sprintf("/%d", i)
		if _, err := r.Purge(t.Context(), Order{Site: siteWWW, URLs: []string{path}, Who: "test"}); err != nil {
			t.Fatal(err)
		}
		subject.Path, subject.Query = path, ""
		if !r.hits(subject) {
			t.Fatalf("%s is not struck when the receipt comes", path)
		}
	}
}

func TestLogFails(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	order := request{target: "/v1/sites/" + siteWWW + "/purge", token: secretAll, body: `{"tags":["t"]}`, header: field("Idempotency-Key", "k")}
	for _, c := range []struct {
		err  error
		says string
	}{
		{errors.New("purge log: nothing was purged: no space left on device"), "nothing was purged: no space left on device"},
		{fmt.Errorf("wrapped: %w", ErrBusy), "busy"},
		{context.DeadlineExceeded, "whether it was purged is unknown"},
	} {
		r.log.fail = c.err
		status, answer, header := send(t, r.Public(), order)
		if got := fmt.Sprint(answer["error"]); status != http.StatusServiceUnavailable || !strings.Contains(got, c.says) {
			t.Errorf("log fails with %v: status %d, %q; want 503 and %q", c.err, status, got, c.says)
		}
		if header.Get("Retry-After") != "1" {
			t.Errorf("log fails with %v: no Retry-After", c.err)
		}
	}
	r.log.fail = fmt.Errorf("append: %w", ErrTooBig)
	if status, answer, _ := send(t, r.Public(), order); status != http.StatusRequestEntityTooLarge {
		t.Errorf("too big for the log: status %d, answer %v", status, answer)
	}
	r.log.fail, r.log.lose = nil, true
	send(t, r.Public(), order)
	if status, answer, _ := send(t, r.Public(), order); status != http.StatusOK {
		t.Errorf("the log is well again: status %d, answer %v", status, answer)
	}
	if diff := cmp.Diff([]string{siteWWW + " tag t"}, r.struck()); diff != "" {
		t.Errorf("an order whose answer was lost, repeated: log (-want +got)\n%s", diff)
	}
}

func TestIdempotency(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	order := func(token, key, body string) (int, any) {
		status, answer, _ := send(t, r.Public(), request{
			target: "/v1/sites/" + siteWWW + "/purge", token: token, body: body, header: field("Idempotency-Key", key),
		})
		return status, answer["id"]
	}
	_, first := order(secretAll, "k", `{"tags":["t"]}`)
	if _, again := order(secretAll, `"k"`, `{ "tags": ["t"] }`); again != first {
		t.Errorf("the same order again has id %v, want %v", again, first)
	}
	for _, body := range []string{`{"tags":["u"]}`, `{"tags":["t"],"soft":true}`, `{"tags":["t","u"]}`} {
		if status, _ := order(secretAll, "k", body); status != http.StatusConflict {
			t.Errorf("%s under a key that was used: status %d, want 409", body, status)
		}
	}
	if _, other := order(secretAll, "l", `{"tags":["t"]}`); other == first {
		t.Error("another key has the same id")
	}
	if _, other := order(secretTags, "k", `{"tags":["t"]}`); other == first {
		t.Error("another token has the same id")
	}
	r.pass(repeatFor)
	if status, later := order(secretAll, "k", `{"tags":["u"]}`); status != http.StatusOK || later == first {
		t.Errorf("a day later: status %d, id %v", status, later)
	}
	if got, want := len(r.struck()), 4; got != want {
		t.Errorf("%d entries in the log, want %d: %v", got, want, r.struck())
	}
}

// TestIdempotencyAtOnce: repetitions that come while the first is under way wait for
// it.
func TestIdempotencyAtOnce(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	var ids sync.Map
	var wait sync.WaitGroup
	for range 20 {
		wait.Go(func() {
			receipt, err := r.Purge(t.Context(), Order{Site: siteWWW, Tags: []string{"t"}, Key: "k"})
			if err != nil {
				t.Error(err)
			}
			ids.Store(receipt.ID, true)
		})
	}
	wait.Wait()
	n := 0
	ids.Range(func(any, any) bool { n++; return true })
	if n != 1 || len(r.struck()) != 1 {
		t.Errorf("20 equal orders at once: %d ids and %d entries, want 1 and 1", n, len(r.struck()))
	}
}

func TestRepeatsAreBounded(t *testing.T) {
	t.Parallel()
	known := newRepeats(3)
	for i := range 10 {
		known.find(repeatKey{key: fmt.Sprint(i)}, [32]byte{}, rigStart)
	}
	if len(known.byKey) != 3 || known.order.len() != 3 {
		t.Errorf("%d keys and %d in order, want 3", len(known.byKey), known.order.len())
	}
	ninth := known.find(repeatKey{key: "9"}, [32]byte{}, rigStart)
	if again := known.find(repeatKey{key: "9"}, [32]byte{1}, rigStart.Add(repeatFor-1)); again != ninth {
		t.Error("the newest key was forgotten before its time")
	}
	if again := known.find(repeatKey{key: "9"}, [32]byte{1}, rigStart.Add(repeatFor)); again == ninth {
		t.Error("a key is known after its time")
	}
	if len(known.byKey) != 1 {
		t.Errorf("%d keys are left, want 1", len(known.byKey))
	}
}

func TestRate(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	send1 := func(n int) (int, string) {
		status, _, header := send(t, r.Public(), request{
			target: "/v1/sites/" + siteWWW + "/purge", token: secretSlow, body: `{"urls":[` + numbered(n) + `]}`,
		})
		return status, header.Get("Retry-After")
	}
	if status, _ := send1(MaxItems); status != http.StatusOK {
		t.Fatalf("the largest order of a rested token: status %d", status)
	}
	if status, after := send1(15); status != http.StatusTooManyRequests || after != "2" {
		t.Errorf("15 items at 10/s and none left: status %d, Retry-After %q; want 429 and 2", status, after)
	}
	if got := len(r.struck()); got != MaxItems {
		t.Errorf("%d entries, want %d", got, MaxItems)
	}
	r.Swap(rigSites())
	r.pass(time.Second)
	if status, _ := send1(11); status != http.StatusTooManyRequests {
		t.Errorf("a reload gave the token its burst anew: status %d", status)
	}
	if status, _ := send1(10); status != http.StatusOK {
		t.Errorf("10 items after a second at 10/s: status %d", status)
	}
	if status, _, _ := send(t, r.Public(), request{target: "/service/" + siteWWW + "/purge/t", token: secretAll}); status != http.StatusOK {
		t.Errorf("another token: status %d", status)
	}
}

func TestDryRun(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	subject := cachestore.Subject{Site: siteWWW, Host: siteWWW, Path: "/a", Tags: []string{"t"}}
	r.count = func(site string, marks []cachestore.Mark, stop time.Time) (int, bool) {
		if site != siteWWW || len(marks) != 2 || stop.Sub(rigStart) > 2*time.Second {
			t.Errorf("count(%q, %v, %v)", site, marks, stop)
		}
		n := 0
		for _, mark := range r.ledger.Marks(subject) {
			if slices.Contains(marks, mark) {
				n++
			}
		}
		return n, true
	}
	status, answer, _ := send(t, r.Public(), request{
		target: "/v1/sites/" + siteWWW + "/purge", token: secretAll, body: `{"tags":["t"],"urls":["/a"],"dry_run":true}`,
	})
	want := map[string]any{"state": "dry_run", "count": 2.0, "at_least": true}
	if diff := cmp.Diff(want, answer); status != http.StatusOK || diff != "" {
		t.Errorf("status %d, answer (-want +got)\n%s", status, diff)
	}
	if got := r.struck(); len(got) > 0 {
		t.Errorf("a dry run purged %v", got)
	}
}

// TestCatchAll: the site "*" takes any host that no other site has, and a path stands
// for all of its hosts.
func TestCatchAll(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.Swap(append(rigSites(), SiteOptions{Name: catchAll, Tokens: []Token{{Name: "any", Secret: "any", Scopes: []Scope{ScopeAll}}}}))
	for _, c := range []struct {
		order Order
		want  []string
	}{
		{Order{URLs: []string{"/a?x=1"}, Prefixes: []string{"/b/"}}, []string{"* url */a?x=1", "* prefix */b"}},
		{Order{URLs: []string{"http://Any.example/a"}, Prefixes: []string{"any.example/b"}}, []string{"* url any.example/a", "* prefix any.example/b"}},
		{Order{Hosts: []string{"any.example", "*.any.example"}}, []string{"* host any.example", "* host *.any.example"}},
		{Order{Everything: true}, []string{"* site "}},
		{Order{URLs: []string{"https://www.example.com/"}}, nil},
		{Order{Hosts: []string{"other.example.net"}}, nil},
		{Order{Hosts: []string{"*"}}, nil},
	} {
		before := len(r.struck())
		c.order.Site = catchAll
		_, err := r.Purge(t.Context(), c.order)
		got := r.struck()[before:]
		if diff := cmp.Diff(c.want, got); (err != nil) != (c.want == nil) || c.want != nil && diff != "" || c.want == nil && len(got) > 0 {
			t.Errorf("%+v: error %v, log (-want +got)\n%s", c.order, err, diff)
		}
	}
	if status, answer, _ := send(t, r.Public(), request{target: "/purge/any.example/a", token: "any"}); status != http.StatusOK {
		t.Errorf("a URL of any host: status %d, answer %v", status, answer)
	}
}

func TestMethod(t *testing.T) {
	t.Parallel()
	method := func(r *rig, site, host string) http.HandlerFunc {
		return func(w http.ResponseWriter, q *http.Request) {
			r.Method(w, q, site, host, q.URL.EscapedPath(), q.URL.RawQuery)
		}
	}
	purge := func(token string, header http.Header) request {
		return request{method: "PURGE", target: "/a/../b?utm_x=1&y=2", token: token, header: header}
	}
	for _, c := range []struct {
		name, site, host string
		send             request
		status           int
		log              []string
	}{
		{"URL", siteWWW, siteWWW, purge(secretAll, nil), 200, []string{siteWWW + " url " + siteWWW + "/b?y=2"}},
		{"URL on a host of the router", siteWWW, "www.fra.cdn.example.net", purge(secretAll, nil), 200, []string{siteWWW + " url " + siteWWW + "/b?y=2"}},
		{"soft URL", siteWWW, siteWWW, purge(secretSoft, field("Soft-Purge", "1")), 200, []string{siteWWW + " url " + siteWWW + "/b?y=2 soft"}},
		{"Fastly-Key goes before Authorization", siteWWW, siteWWW, purge("wrong", http.Header{"Fastly-Key": {secretAll}, "Fastly-Soft-Purge": {"1"}}), 200, []string{siteWWW + " url " + siteWWW + "/b?y=2 soft"}},
		{"Surrogate-Key", siteWWW, siteWWW, purge(secretTags, field("Surrogate-Key", "a b")), 200, []string{siteWWW + " tag a", siteWWW + " tag b"}},
		{"xkey", siteWWW, siteWWW, purge(secretTags, field("Xkey", "a, b")), 200, []string{siteWWW + " tag a", siteWWW + " tag b"}},
		{"Cache-Tag", siteWWW, siteWWW, purge(secretTags, field("Cache-Tag", "a b,, c")), 200, []string{siteWWW + " tag a b", siteWWW + " tag c"}},
		{"a site without tokens", siteNone, siteNone, purge(secretAll, nil), 405, nil},
		{"no such site", "nowhere", siteNone, purge(secretAll, nil), 405, nil},
		{"no token", siteWWW, siteWWW, purge("", nil), 401, nil},
		{"bad token", siteWWW, siteWWW, purge("x", nil), 401, nil},
		{"token of another site", siteWWW, siteWWW, purge(secretOther, nil), 403, nil},
		{"scope", siteWWW, siteWWW, purge(secretTags, nil), 403, nil},
		{"long tag", siteWWW, siteWWW, purge(secretTags, field("Xkey", strings.Repeat("x", maxTagBytes+1))), 400, nil},
		{"too many tags", siteWWW, siteWWW, purge(secretTags, field("Xkey", strings.Repeat("x ", MaxItems+1))), 400, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			status, answer, header := send(t, method(r, c.site, c.host), c.send)
			if status != c.status {
				t.Errorf("status %d, want %d; answer %v", status, c.status, answer)
			}
			if diff := cmp.Diff(append([]string{}, c.log...), r.struck()); diff != "" {
				t.Errorf("log (-want +got)\n%s", diff)
			}
			if allow := header.Get("Allow"); (allow != "") != (status == http.StatusMethodNotAllowed) {
				t.Errorf("status %d with Allow %q", status, allow)
			}
		})
	}
}

func TestAdmin(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	open := http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		r.Admin().ServeHTTP(w, q.WithContext(WithCaller(q.Context(), Operator("operator"))))
	})
	order := request{target: "/v1/sites/" + siteNone + "/purge", body: `{"everything":true}`}
	if status, answer, _ := send(t, open, order); status != http.StatusOK {
		t.Errorf("the operator, of a site without tokens: status %d, answer %v", status, answer)
	}
	if status, _, _ := send(t, open, request{target: "/v1/sites/nowhere/purge", body: `{"everything":true}`}); status != http.StatusNotFound {
		t.Errorf("the operator, of no site: status %d, want 404", status)
	}
	if status, _, _ := send(t, r.Admin(), order); status != http.StatusUnauthorized {
		t.Errorf("nobody: status %d, want 401", status)
	}
	order.token = secretAll
	if status, _, _ := send(t, r.Admin(), order); status != http.StatusForbidden {
		t.Errorf("a token of another site: status %d, want 403", status)
	}
	if status, _, _ := send(t, r.Admin(), request{target: "/service/" + siteWWW + "/purge/t", token: secretAll}); status != http.StatusNotFound {
		t.Errorf("Fastly's shape on the operator's listener: status %d, want 404", status)
	}
	// What the operator's listener says of a request is not believed in public.
	w := httptest.NewRecorder()
	q := request{target: "/v1/sites/" + siteWWW + "/purge", body: `{"everything":true}`}.http()
	r.Public().ServeHTTP(w, q.WithContext(WithCaller(q.Context(), Operator("operator"))))
	if w.Code != http.StatusUnauthorized {
		t.Errorf("in public: status %d, want 401", w.Code)
	}
	caller, err := r.Authenticate(request{target: "/", token: secretBoth}.http())
	if err != nil || caller.Admin || caller.Name != "both" {
		t.Errorf("Authenticate: %+v, %v", caller, err)
	}
	if diff := cmp.Diff([]string{siteWWW, siteOther}, caller.Sites()); diff != "" {
		t.Errorf("sites of the token of both (-want +got)\n%s", diff)
	}
	var refusal *Refusal
	if _, err := r.Authenticate(request{target: "/", token: "x"}.http()); !errors.As(err, &refusal) || refusal.Status != http.StatusUnauthorized {
		t.Errorf("Authenticate with a bad token: %v", err)
	}
}

// TestRotation: while two tokens overlap both are valid, and each goes when it is taken
// out.
func TestRotation(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	with := func(secrets ...string) {
		site := SiteOptions{Name: siteWWW, Hosts: []string{siteWWW}}
		for _, secret := range secrets {
			site.Tokens = append(site.Tokens, Token{Name: "cms", Secret: secret, Scopes: []Scope{ScopeTag}})
		}
		r.Swap([]SiteOptions{site})
	}
	status := func(token string) int {
		status, _, _ := send(t, r.Public(), request{target: "/service/" + siteWWW + "/purge/t", token: token})
		return status
	}
	for _, c := range []struct {
		valid        []string
		first, other int
	}{
		{[]string{"first"}, 200, 401},
		{[]string{"first", "other"}, 200, 200},
		{[]string{"other"}, 401, 200},
		{nil, 404, 404},
	} {
		with(c.valid...)
		if first, other := status("first"), status("other"); first != c.first || other != c.other {
			t.Errorf("valid are %v: first %d, other %d; want %d, %d", c.valid, first, other, c.first, c.other)
		}
	}
}

func TestAuditLine(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	_, answer, _ := send(t, r.Public(), request{target: "/v1/sites/" + siteWWW + "/purge", token: secretAll, body: `{"tags":["t","u"],"urls":["/a"],"soft":true}`})
	want := fmt.Sprintf("level=INFO msg=purge who=cms from=192.0.2.7 site=www.example.com items.urls=1 items.prefixes=0 items.tags=2 items.hosts=0 items.everything=false soft=true id=%s result=complete\n", answer["id"])
	_, line, _ := strings.Cut(r.audited.String(), " ")
	if diff := cmp.Diff(want, line); diff != "" {
		t.Errorf("audit log (-want +got)\n%s", diff)
	}
	for range refusalBurst + 50 {
		send(t, r.Public(), request{target: "/service/" + siteWWW + "/purge/t", token: "x"})
	}
	if got := strings.Count(r.audited.String(), "purge token refused"); got != refusalBurst {
		t.Errorf("%d refusals are logged of a storm, want %d", got, refusalBurst)
	}
	r.pass(time.Second)
	send(t, r.Public(), request{target: "/service/" + siteWWW + "/purge/t", token: "x"})
	if !strings.HasSuffix(r.audited.String(), "not_logged=50\n") {
		t.Errorf("the line after a storm does not say how many were left out: %q", r.audited.String()[len(r.audited.String())-100:])
	}
}
