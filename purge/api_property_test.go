package purge

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"perigee/cachestore"
)

// intent is an item of an order, and what it is meant to strike.
type intent struct {
	field, text string
	strikes     func(s cachestore.Subject) bool
}

var (
	propertyPaths   = []string{"/", "/a", "/a/", "/a/b", "/a/bc", "/a/b/c", "/b"}
	propertyQueries = []string{"", "x=1", "x=2"}
	propertyTags    = []string{"item", "item-1", "Item", "two words", "status=404", "type=text/html"}
)

// propertySubjects are all responses that there could be.
func propertySubjects() (all []cachestore.Subject) {
	for _, site := range []string{siteWWW, siteOther} {
		for _, path := range propertyPaths {
			for _, query := range propertyQueries {
				s := cachestore.Subject{Site: site, Scheme: "https", Host: site, Path: path, Query: query, Status: 200, MediaType: "text/css"}
				all = append(all, s)
				s.Scheme, s.Tags = "http", []string{"item-1", "two words"}
				all = append(all, s)
				s.Status, s.MediaType, s.Tags = 404, "Text/HTML; charset=utf-8", []string{"item"}
				all = append(all, s)
			}
		}
	}
	return all
}

func oneOf[T any](r *rand.Rand, all ...T) T { return all[r.IntN(len(all))] }

// spell writes a path in one of the ways that mean the same.
func spell(r *rand.Rand, path string) string {
	switch r.IntN(4) {
	case 1:
		return "/." + path
	case 2:
		return "/x/.." + path
	case 3:
		return strings.ReplaceAll(path, "a", "%61")
	}
	return path
}

// authority is a host of the site, in one of its forms, or none.
func authority(r *rand.Rand) string {
	return oneOf(r, "", "www.example.com", "WWW.example.com.", "example.com", "img.example.com:8080")
}

func drawIntent(r *rand.Rand) intent {
	path := oneOf(r, propertyPaths...)
	host := authority(r)
	switch oneOf(r, "urls", "prefixes", "tags", "hosts") {
	case "urls":
		query := oneOf(r, propertyQueries...)
		text := spell(r, path)
		if host != "" {
			text = oneOf(r, "http://", "https://") + host + text
		}
		if query != "" {
			text += "?" + query + "&utm_source=mail"
		} else if oneOf(r, true, false) {
			text += "?utm_source=mail"
		}
		return intent{"urls", text, func(s cachestore.Subject) bool { return s.Path == path && s.Query == query }}
	case "prefixes":
		bare := strings.TrimRight(path, "/")
		return intent{"prefixes", host + spell(r, path), func(s cachestore.Subject) bool {
			return s.Path == bare || strings.HasPrefix(s.Path, bare+"/")
		}}
	case "tags":
		tag := oneOf(r, propertyTags...)
		return intent{"tags", tag, func(s cachestore.Subject) bool {
			return slices.Contains(s.Tags, tag) || tag == fmt.Sprint("status=", s.Status) || tag == "type=text/html" && strings.HasPrefix(s.MediaType, "Text/HTML")
		}}
	}
	if host == "" {
		host = "*.example.com"
	}
	host, _, _ = strings.Cut(host, ":")
	return intent{"hosts", host, func(cachestore.Subject) bool { return true }}
}

// TestOrdersStrikeWhatTheyMean: an order that is taken strikes exactly the responses
// that its items name, of its site alone.
func TestOrdersStrikeWhatTheyMean(t *testing.T) {
	t.Parallel()
	subjects := propertySubjects()
	for seed := range uint64(2000) {
		checkOrder(t, rand.New(rand.NewPCG(5, seed)), subjects)
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

func checkOrder(t *testing.T, r *rand.Rand, subjects []cachestore.Subject) {
	t.Helper()
	soft := oneOf(r, true, false)
	order := map[string]any{"soft": soft}
	intents := make([]intent, 1+r.IntN(4))
	for i := range intents {
		intents[i] = drawIntent(r)
		list, _ := order[intents[i].field].([]string)
		order[intents[i].field] = append(list, intents[i].text)
	}
	body, err := json.Marshal(order)
	if err != nil {
		t.Fatal(err)
	}
	s, log := direct()
	w := httptest.NewRecorder()
	s.Public().ServeHTTP(w, request{target: "/v1/sites/" + siteWWW + "/purge", token: secretBoth, body: string(body)}.http())
	if w.Code != http.StatusOK {
		t.Fatalf("%s: status %d: %s", body, w.Code, w.Body)
	}
	for _, subject := range subjects {
		want := cachestore.Valid
		if subject.Site == siteWWW && slices.ContainsFunc(intents, func(i intent) bool { return i.strikes(subject) }) {
			if want = cachestore.Gone; soft {
				want = cachestore.Soft
			}
		}
		var checked atomic.Uint64
		if got := log.ledger.Judge(cachestore.Birth{}, log.ledger.Marks(subject), &checked); got != want {
			t.Errorf("%s\nstrikes %+v: verdict %d, want %d; log %+v", body, subject, got, want, log.all())
		}
	}
}
