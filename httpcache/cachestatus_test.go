package httpcache

import (
	"strings"
	"testing"

	"github.com/dunglas/httpsfv"
)

func runCacheStatus(t *testing.T, r row) {
	name := "perigee"
	var c CacheStatus
	for _, item := range r.given {
		word, rest, _ := strings.Cut(item, " ")
		switch word {
		case "hit":
			c.Hit = true
		case "fwd":
			for f := range forwards {
				if f.String() == rest {
					c.Fwd = f
				}
			}
		case "fwd-status":
			c.FwdStatus = int(number(t, rest))
		case "ttl":
			c.TTL, c.HasTTL = duration(t, rest), true
		case "stored":
			c.Stored = true
		case "collapsed":
			c.Collapsed = true
		case "detail":
			c.Detail = rest
		case "name":
			name = rest
		default:
			t.Fatalf("given %q is not understood", item)
		}
	}
	got := string(c.Append(nil, name))
	want := strings.ReplaceAll(r.want[0], " ;", ";")
	if got != want {
		t.Errorf("given %q: got %s, want %s", r.given, got, want)
	}
	parseCacheStatus(t, got)
}

// parseCacheStatus checks that text is a list of one member as RFC 9211 wants.
func parseCacheStatus(t *testing.T, text string) {
	t.Helper()
	list, err := httpsfv.UnmarshalList([]string{text})
	if err != nil || len(list) != 1 {
		t.Fatalf("%q is no structured list of one member: %v", text, err)
	}
	item, ok := list[0].(httpsfv.Item)
	if !ok {
		t.Fatalf("%q: member is no item", text)
	}
	switch item.Value.(type) {
	case string, httpsfv.Token:
	default:
		t.Errorf("%q: member is neither token nor string", text)
	}
}

func FuzzCacheStatus(f *testing.F) {
	f.Add("perigee", "fresh", 200)
	f.Add("fra 1", `say "no"`, 0)
	f.Add("", "\x00é", 599)
	f.Fuzz(func(t *testing.T, name, detail string, status int) {
		if status < 0 || status > 999 {
			return
		}
		c := CacheStatus{Hit: true, Fwd: FwdStale, FwdStatus: status, Detail: detail, HasTTL: true, TTL: -1}
		parseCacheStatus(t, string(c.Append(nil, name)))
	})
}
