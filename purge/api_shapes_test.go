package purge

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestShapes sends what clients of the three APIs send, and looks at what comes into
// the log.
func TestShapes(t *testing.T) {
	t.Parallel()
	const www = siteWWW
	native := "/v1/sites/" + www + "/purge"
	cases := []struct {
		name   string
		send   request
		status int
		log    []string
	}{
		{"path", request{target: native, token: secretAll, body: `{"urls":["/a?x=1"]}`}, 200, []string{www + " url " + www + "/a?x=1"}},
		{"absolute, alias, port, fragment", request{target: native, token: secretAll, body: `{"urls":["HTTP://Example.COM:8080/%7ea/../b#top"]}`}, 200, []string{www + " url " + www + "/b"}},
		{"root without slash", request{target: native, token: secretAll, body: `{"urls":["https://example.com?q"]}`}, 200, []string{www + " url " + www + "/?q"}},
		{"beyond ASCII", request{target: native, token: secretAll, body: `{"urls":["/ä"]}`}, 200, []string{www + " url " + www + "/%C3%A4"}},
		{"reduced query", request{target: native, token: secretAll, body: `{"urls":["/a?utm_source=x&id=1"]}`}, 200, []string{www + " url " + www + "/a?id=1"}},
		{"any query", request{target: native, token: secretAll, body: `{"urls":["/a"],"ignore_query":true}`}, 200, []string{www + " path " + www + "/a"}},
		{"twice the same", request{target: native, token: secretAll, body: `{"urls":["/a","https://example.com/a","http://www.example.com/./a"]}`}, 200, []string{www + " url " + www + "/a"}},
		{"prefixes", request{target: native, token: secretAll, body: `{"prefixes":["/a/b/","example.com/c","img.example.com"]}`}, 200, []string{www + " prefix " + www + "/a/b", www + " prefix " + www + "/c", www + " prefix " + www + "/"}},
		{"tags", request{target: native, token: secretAll, body: `{"tags":["item","status=404","two words","ü"],"soft":true}`}, 200, []string{www + " tag item soft", www + " tag status=404 soft", www + " tag two words soft", www + " tag ü soft"}},
		{"hosts", request{target: native, token: secretAll, body: `{"hosts":["IMG.example.com","*.example.com"]}`}, 200, []string{www + " host " + www}},
		{"everything", request{target: native, token: secretAll, body: `{"everything":true,"urls":[],"tags":null}`}, 200, []string{www + " site "}},
		{"by id", request{target: "/v1/sites/" + serviceID + "/purge", token: secretAll, body: `{"tags":["t"],"wait":"60s"}`}, 200, []string{www + " tag t"}},
		{"by escaped id", request{target: "/v1/sites/zone%2Fwith%20slash/purge", token: secretAll, body: `{"tags":["t"]}`}, 200, []string{www + " tag t"}},
		{"token of both sites", request{target: "/v1/sites/" + siteOther + "/purge", token: secretBoth, body: `{"tags":["t"]}`}, 200, []string{siteOther + " tag t"}},
		{"soft by a soft token", request{target: native, token: secretSoft, body: `{"tags":["t"],"soft":true}`}, 200, []string{www + " tag t soft"}},
		{"from its network", request{target: native, token: secretNet, from: "[::ffff:198.51.100.9]:1", body: `{"tags":["t"]}`}, 200, []string{www + " tag t"}},

		{"Fastly key", request{target: "/service/" + serviceID + "/purge/item-1", header: field("Fastly-Key", secretAll)}, 200, []string{www + " tag item-1"}},
		{"Fastly key with slashes", request{target: "/service/" + serviceID + "/purge/a/purge/b%20c", header: field("Fastly-Key", secretAll)}, 200, []string{www + " tag a/purge/b c"}},
		{"Fastly keys in the field", request{target: "/service/" + serviceID + "/purge", token: secretTags, header: http.Header{"Surrogate-Key": {"a  b", "c"}, "Fastly-Soft-Purge": {"1"}}}, 200, []string{www + " tag a soft", www + " tag b soft", www + " tag c soft"}},
		{"Fastly keys in the body", request{target: "/service/" + www + "/purge", token: secretTags, body: `{"surrogate_keys":["a","b"]}`}, 200, []string{www + " tag a", www + " tag b"}},
		{"Fastly all", request{target: "/service/" + serviceID + "/purge_all", token: secretAll}, 200, []string{www + " site "}},
		{"Fastly all, older", request{method: http.MethodPut, target: "/service/" + serviceID + "/purge_all", token: secretAll}, 200, []string{www + " site "}},
		{"Fastly URL", request{target: "/purge/www.example.com/a/b?x=%20y", token: secretAll}, 200, []string{www + " url " + www + "/a/b?x=%20y"}},
		{"Fastly URL with scheme", request{target: "/purge/https://example.com/a", header: http.Header{"Fastly-Key": {secretAll}, "Fastly-Soft-Purge": {"true"}}}, 200, []string{www + " url " + www + "/a soft"}},
		{"Fastly URL as one segment", request{target: "/purge/http%3A%2F%2Fexample.com%2Fa%3Fx%3D1", token: secretAll}, 200, []string{www + " url " + www + "/a?x=1"}},
		{"Fastly URL, host alone", request{target: "/purge/example.com", header: http.Header{"Fastly-Key": {secretAll}, "Fastly-Soft-Purge": {"0"}}}, 200, []string{www + " url " + www + "/"}},

		{"Cloudflare files", request{target: "/client/v4/zones/" + serviceID + "/purge_cache", token: secretAll, body: `{"files":["http://www.example.com/css/styles.css",{"url":"http://www.example.com/cat.jpg","headers":{"CF-IPCountry":"US","Accept-Language":"zh-CN"}}]}`}, 200, []string{www + " url " + www + "/css/styles.css", www + " url " + www + "/cat.jpg"}},
		{"Cloudflare tags, hosts, prefixes", request{target: "/zones/" + www + "/purge_cache", token: secretAll, body: `{"tags":["a"],"hosts":["www.example.com"],"prefixes":["www.example.com/foo"]}`}, 200, []string{www + " prefix " + www + "/foo", www + " tag a", www + " host " + www}},
		{"Cloudflare everything, older", request{method: http.MethodDelete, target: "/client/v4/zones/" + serviceID + "/purge_cache", header: http.Header{"X-Auth-Key": {secretAll}, "X-Auth-Email": {"a@example.com"}}, body: `{"purge_everything":true}`}, 200, []string{www + " site "}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			status, answer, _ := send(t, r.Public(), c.send)
			if status != c.status {
				t.Errorf("%s %s: status %d, want %d; answer %v", c.send.target, c.send.body, status, c.status, answer)
			}
			if diff := cmp.Diff(c.log, r.struck()); diff != "" {
				t.Errorf("%s %s: log (-want +got)\n%s", c.send.target, c.send.body, diff)
			}
		})
	}
}

// TestAnswers looks at the very JSON.
func TestAnswers(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	id := func() string { all := r.log.all(); return all[len(all)-1].ID.String() }
	_, got, header := send(t, r.Public(), request{target: "/v1/sites/" + siteWWW + "/purge", token: secretAll, body: `{"tags":["t"]}`})
	want := map[string]any{
		"id": id(), "state": "complete", "edges": []any{map[string]any{"name": "fra-1", "acked_ms": 0.0}}, "missing": []any{},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("receipt (-want +got)\n%s", diff)
	}
	if got := header.Get("Content-Type"); got != "application/json" {
		t.Errorf("Content-Type %q", got)
	}
	_, got, _ = send(t, r.Public(), request{target: "/service/" + siteWWW + "/purge/t", token: secretAll})
	if diff := cmp.Diff(map[string]any{"status": "ok", "id": id()}, got); diff != "" {
		t.Errorf("Fastly, one key (-want +got)\n%s", diff)
	}
	_, got, _ = send(t, r.Public(), request{target: "/service/" + siteWWW + "/purge", token: secretAll, body: `{"surrogate_keys":["a\"","b","b"]}`})
	if diff := cmp.Diff(map[string]any{`a"`: id(), "b": id()}, got); diff != "" {
		t.Errorf("Fastly, several keys (-want +got)\n%s", diff)
	}
	_, got, _ = send(t, r.Public(), request{target: "/zones/" + siteWWW + "/purge_cache", token: secretAll, body: `{"tags":["t"]}`})
	want = map[string]any{"success": true, "errors": []any{}, "messages": []any{}, "result": map[string]any{"id": id()}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Cloudflare (-want +got)\n%s", diff)
	}
	_, got, header = send(t, r.Public(), request{target: "/zones/" + siteWWW + "/purge_cache", token: "wrong", body: `{"tags":["t"]}`})
	want = map[string]any{"success": false, "errors": []any{map[string]any{"code": 10000.0, "message": "the token is not valid"}}, "messages": []any{}, "result": nil}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Cloudflare, bad token (-want +got)\n%s", diff)
	}
	if got := header.Get("WWW-Authenticate"); got != "Bearer" {
		t.Errorf("WWW-Authenticate %q, want Bearer", got)
	}
	_, got, _ = send(t, r.Public(), request{target: "/service/" + siteWWW + "/purge/t"})
	if got["msg"] != "Provided credentials are missing or invalid" {
		t.Errorf("Fastly, no token: answer %v", got)
	}
}

// hostile are requests that purge nothing.
func hostile() []struct {
	name   string
	send   request
	status int
	says   string
} {
	native := "/v1/sites/" + siteWWW + "/purge"
	order := func(body string) request { return request{target: native, token: secretAll, body: body} }
	cf := func(body string) request {
		return request{target: "/zones/" + siteWWW + "/purge_cache", token: secretAll, body: body}
	}
	good := `{"tags":["t"]}`
	many := `{"tags":["t"` + strings.Repeat(`,"t"`, MaxItems) + `]}`
	return []struct {
		name   string
		send   request
		status int
		says   string
	}{
		{"no body", order(""), 400, "empty"},
		{"not JSON", order("{\n  \"urls\": [/a]}"), 400, "line 2, column 12"},
		{"two values", order(good + good), 400, "not JSON"},
		{"a list", order(`["/a"]`), 400, "object is expected"},
		{"unknown field", order(`{"tags":["t"],"url":["/a"]}`), 400, "url: there is no such field"},
		{"field in other case", order(`{"Tags":["t"]}`), 400, "no such field"},
		{"field twice", order(`{"tags":["t"],"tags":["u"]}`), 400, "stands twice"},
		{"wrong kind", order(`{"tags":"t"}`), 400, "must be a list of strings, not a string"},
		{"wrong item", order(`{"tags":["t",1]}`), 400, "tags[1]: must be a string, not a number"},
		{"wrong truth", order(`{"everything":"true"}`), 400, "must be true or false"},
		{"deep", order(`{"tags":[[[[[["t"]]]]]]}`), 400, "nested deeper"},
		{"not UTF-8", order("{\"tags\":[\"\xff\"]}"), 400, "not UTF-8"},
		{"half a surrogate pair", order(`{"tags":["\ud800"]}`), 400, "not Unicode"},
		{"nothing", order(`{"urls":[]}`), 400, "names nothing"},
		{"too many", order(many), 400, "more than 500 items"},
		{"too many in all", order(`{"tags":[` + numbered(400) + `],"urls":[` + numbered(101) + `]}`), 400, "501 items"},
		{"too large", order(`{"tags":["` + strings.Repeat("x", maxBodyBytes) + `"]}`), 413, "longer than"},
		{"compressed", request{target: native, token: secretAll, body: good, header: field("Content-Encoding", "gzip")}, 415, "compressed"},
		{"query on the order", request{target: native + "?dry_run=true", token: secretAll, body: good}, 400, "takes no query"},
		{"everything and more", order(`{"everything":true,"tags":["t"]}`), 400, "stands alone"},
		{"wait too long", order(`{"tags":["t"],"wait":"61s"}`), 400, "wait"},
		{"wait below zero", order(`{"tags":["t"],"wait":"-1s"}`), 400, "wait"},
		{"wait no duration", order(`{"tags":["t"],"wait":"soon"}`), 400, "not a duration"},
		{"key too long", request{target: native, token: secretAll, body: good, header: field("Idempotency-Key", strings.Repeat("k", 256))}, 400, "Idempotency-Key"},

		{"one bad of many", order(`{"tags":["good"],"urls":["/a","b"]}`), 400, "urls[1]: "},
		{"relative URL", order(`{"urls":["a/b"]}`), 400, "urls[0]: "},
		{"URL without scheme", order(`{"urls":["//example.com/a"]}`), 400, "urls[0]: "},
		{"other scheme", order(`{"urls":["ftp://example.com/a"]}`), 400, "urls[0]: "},
		{"other host", order(`{"urls":["https://other.example.net/a"]}`), 400, "urls[0]: the host"},
		{"user information", order(`{"urls":["https://example.com@other.example.net/a"]}`), 400, "is not a host"},
		{"no host", order(`{"urls":["https:///a"]}`), 400, "urls[0]: "},
		{"space", order(`{"urls":["/a b"]}`), 400, "byte 2"},
		{"line break", order(`{"urls":["/a\r\nb"]}`), 400, "byte 2"},
		{"bad escape", order(`{"urls":["/a%zz"]}`), 400, "malformed"},
		{"encoded NUL", order(`{"urls":["/a%00"]}`), 400, "malformed"},
		{"long URL", order(`{"urls":["/` + strings.Repeat("a", maxURLBytes) + `"]}`), 400, "longer than"},
		{"query with ignore_query", order(`{"urls":["/a?x"],"ignore_query":true}`), 400, "ignore_query"},
		{"empty prefix", order(`{"prefixes":[""]}`), 400, "prefixes[0]: "},
		{"prefix with scheme", order(`{"prefixes":["https://example.com/a"]}`), 400, "prefixes[0]: "},
		{"prefix with star", order(`{"prefixes":["/a/*"]}`), 400, "prefixes[0]: "},
		{"prefix with query", order(`{"prefixes":["/a?x"]}`), 400, "prefixes[0]: "},
		{"prefix of another host", order(`{"prefixes":["other.example.net/a"]}`), 400, "prefixes[0]: "},
		{"empty tag", order(`{"tags":[""]}`), 400, "tags[0]: "},
		{"tag with control character", order(`{"tags":["a\u0000b"]}`), 400, "tags[0]: "},
		{"tag with line break", order(`{"tags":["a\nSet-Cookie: x"]}`), 400, "tags[0]: "},
		{"tag with comma", order(`{"tags":["a,b"]}`), 400, "comma"},
		{"tag with spaces around", order(`{"tags":[" a "]}`), 400, "tags[0]: "},
		{"long tag", order(`{"tags":["` + strings.Repeat("a", maxTagBytes+1) + `"]}`), 400, "longer than"},
		{"host of another site", order(`{"hosts":["other.example.net"]}`), 400, "hosts[0]: "},
		{"all hosts there are", order(`{"hosts":["*"]}`), 400, "hosts[0]: "},
		{"wildcard above other sites", order(`{"hosts":["*.net"]}`), 400, "hosts[0]: "},
		{"host with port", order(`{"hosts":["www.example.com:80"]}`), 400, "hosts[0]: "},

		{"no token", request{target: native, body: good}, 401, "token is required"},
		{"wrong token", request{target: native, token: secretAll + "x", body: good}, 401, "not valid"},
		{"empty token", request{target: native, header: field("Authorization", "Bearer "), body: good}, 401, "not valid"},
		{"basic", request{target: native, header: field("Authorization", "Basic "+secretAll), body: good}, 401, "Bearer"},
		{"two tokens", request{target: native, header: http.Header{"Authorization": {"Bearer " + secretAll, "Bearer x"}}, body: good}, 401, "more than one"},
		{"long token", request{target: native, token: strings.Repeat("x", maxSecretBytes+1), body: good}, 401, "not valid"},
		{"Fastly-Key where it does not count", request{target: native, header: field("Fastly-Key", secretAll), body: good}, 401, "token is required"},
		{"no token, no such site", request{target: "/v1/sites/nowhere/purge", body: good}, 401, "token is required"},
		{"token of another site", request{target: native, token: secretOther, body: good}, 403, "not of this site"},
		{"token, no such site", request{target: "/v1/sites/nowhere/purge", token: secretAll, body: good}, 403, "not of this site"},
		{"scope", request{target: native, token: secretTags, body: `{"tags":["t"],"urls":["/a"]}`}, 403, "scope url"},
		{"scope site", request{target: native, token: secretTags, body: `{"everything":true}`}, 403, "scope site"},
		{"hard by a soft token", request{target: native, token: secretSoft, body: good}, 403, "soft purges only"},
		{"expired", request{target: native, token: secretOld, body: good}, 403, "expired"},
		{"from elsewhere", request{target: native, token: secretNet, body: good}, 403, "address"},
		{"from nowhere", request{target: native, token: secretNet, from: "@", body: good}, 403, "address"},

		{"GET", request{method: http.MethodGet, target: native, token: secretAll}, 405, "POST"},
		{"POST to the history", request{target: "/v1/purges", token: secretAll}, 405, "GET, HEAD"},
		{"reload", request{target: "/v1/reload", token: secretAll}, 404, "no such path"},
		{"path below", request{target: native + "/x", token: secretAll, body: good}, 404, "no such path"},
		{"no site", request{target: "/v1/sites//purge", token: secretAll, body: good}, 404, "no such path"},
		{"path not cleaned", request{target: "/v1/../v1/sites/" + siteWWW + "/purge", token: secretAll, body: good}, 404, "no such path"},

		{"Fastly: other site's URL", request{target: "/purge/other.example.net/a", token: secretAll}, 403, "not of this site"},
		{"Fastly: nobody's URL", request{target: "/purge/nobody.example/a", token: secretAll}, 403, "not of this site"},
		{"Fastly: no URL", request{target: "/purge/https://", token: secretAll}, 400, "not a URL"},
		{"Fastly: no keys", request{target: "/service/" + siteWWW + "/purge", token: secretAll}, 400, "empty"},
		{"Fastly: keys of the wrong kind", request{target: "/service/" + siteWWW + "/purge", token: secretAll, body: `{"surrogate_keys":{"a":1}}`}, 400, "list of strings"},
		{"Fastly: key with control character", request{target: "/service/" + siteWWW + "/purge/a%0Ab", token: secretAll}, 400, "control character"},
		{"Cloudflare: nothing", cf(`{}`), 400, "must contain one of"},
		{"Cloudflare: not everything", cf(`{"purge_everything":false}`), 400, "must contain one of"},
		{"Cloudflare: no list", cf(`{"files":"https://www.example.com/"}`), 400, "must be a list"},
		{"Cloudflare: file without url", cf(`{"files":[{"headers":{}}]}`), 400, "has no url"},
		{"Cloudflare: odd file", cf(`{"files":[null]}`), 400, "files[0]: must be a URL"},
		{"Cloudflare: odd fields", cf(`{"files":[{"url":"/a","headers":{"a":1}}]}`), 400, "must be a string"},
		{"Cloudflare: unknown field in a file", cf(`{"files":[{"url":"/a","soft":true}]}`), 400, "no such field"},
	}
}

func numbered(n int) string {
	all := make([]string, n)
	for i := range all {
		all[i] = fmt.Sprintf(`"/%d"`, i)
	}
	return strings.Join(all, ",")
}

func TestHostile(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	public := r.Public()
	for _, c := range hostile() {
		status, answer, _ := send(t, public, c.send)
		if status != c.status {
			t.Errorf("%s: status %d, want %d; answer %v", c.name, status, c.status, answer)
		}
		text := fmt.Sprintf("%+q", fmt.Sprint(answer))
		if says := fmt.Sprint(answer); !strings.Contains(says, c.says) && !strings.Contains(text, c.says) {
			t.Errorf("%s: answer %s does not say %q", c.name, says, c.says)
		}
		if got := r.struck(); len(got) > 0 {
			t.Fatalf("%s: purged %v", c.name, got)
		}
		for _, secret := range []string{secretAll, secretOther, secretTags} {
			if strings.Contains(fmt.Sprint(answer), secret) || strings.Contains(r.audited.String(), secret) {
				t.Errorf("%s: a secret stands in the answer or the audit log", c.name)
			}
		}
	}
	for _, want := range []string{"the token is not of this site", "the token has expired", "may not be used from this address", "lacks the scope url"} {
		if !strings.Contains(r.audited.String(), want) {
			t.Errorf("the audit log does not say %q:\n%s", want, r.audited)
		}
	}
}

// TestNoTokens: as long as nobody has a token, the public door is a wall.
func TestNoTokens(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	sites := rigSites()
	for i := range sites {
		sites[i].Tokens = nil
	}
	r.Swap(sites)
	for _, c := range hostile() {
		if status, answer, _ := send(t, r.Public(), c.send); status != http.StatusNotFound {
			t.Errorf("%s: status %d without any token, want 404; answer %v", c.name, status, answer)
		}
	}
}
