package httpcache

import (
	"fmt"
	"testing"
	"time"
)

// What Decide says after so many seconds, and what becomes of that after a soft purge.
func TestSoften(t *testing.T) {
	t.Parallel()
	const tag = `Etag: "v"`
	tests := []struct {
		name    string
		rules   Rules
		fields  []string // of the response
		after   int      // seconds
		request []string
		want    string // action, reason, whether it may stand in for an error
	}{
		{"fresh", Rules{}, []string{"Cache-Control: max-age=60", tag}, 10, nil, "serve-stale soft-purged true"},
		{"fresh, no validator", Rules{}, []string{"Cache-Control: max-age=60"}, 10, nil, "serve-stale soft-purged true"},
		{"must-revalidate", Rules{}, []string{"Cache-Control: max-age=60, must-revalidate", tag}, 10, nil, "validate soft-purged false"},
		{"proxy-revalidate", Rules{}, []string{"Cache-Control: max-age=60, proxy-revalidate", tag}, 10, nil, "validate soft-purged false"},
		{"s-maxage", Rules{}, []string{"Cache-Control: s-maxage=60", tag}, 10, nil, "validate soft-purged false"},
		{"must-revalidate, no validator", Rules{}, []string{"Cache-Control: max-age=60, must-revalidate"}, 10, nil, "fetch soft-purged false"},
		{"its date is a validator", Rules{}, []string{"Cache-Control: s-maxage=60", "Last-Modified: Mon, 01 Jan 2001 00:00:00 GMT"}, 10, nil, "validate soft-purged false"},
		{"no-cache", Rules{}, []string{"Cache-Control: no-cache", tag}, 10, nil, "validate no-cache false"},
		{"stale while revalidating", Rules{}, []string{"Cache-Control: max-age=60, stale-while-revalidate=60", tag}, 90, nil, "serve-stale soft-purged true"},
		{"stale", Rules{}, []string{"Cache-Control: max-age=60", tag}, 90, nil, "validate stale false"},
		{"stale, stands in", Rules{StaleIfError: time.Hour}, []string{"Cache-Control: max-age=60", tag}, 90, nil, "validate stale true"},
		{"stale, no validator", Rules{}, []string{"Cache-Control: max-age=60"}, 90, nil, "fetch stale false"},
		{"the client wants it validated", Rules{HonourRequest: true}, []string{"Cache-Control: max-age=60", tag}, 10, []string{"Cache-Control: no-cache"}, "validate request-no-cache false"},
		{"the client takes it stale", Rules{HonourRequest: true}, []string{"Cache-Control: max-age=60", tag}, 90, []string{"Cache-Control: max-stale"}, "serve-stale soft-purged true"},
		{"the client wants no fetch", Rules{HonourRequest: true}, []string{"Cache-Control: max-age=60", tag}, 10, []string{"Cache-Control: only-if-cached"}, "serve-stale soft-purged true"},
		{"nor where it may not be stale", Rules{HonourRequest: true}, []string{"Cache-Control: max-age=60, must-revalidate", tag}, 10, []string{"Cache-Control: only-if-cached"}, "refuse only-if-cached false"},
		{"nor where it is stale", Rules{HonourRequest: true}, []string{"Cache-Control: max-age=60", tag}, 90, []string{"Cache-Control: only-if-cached"}, "refuse only-if-cached false"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			resp := answer(test.fields...)
			s := mustStore(t, &test.rules, get(), resp)
			req := NewRequest(get(test.request...))
			d := Decide(&test.rules, req, s, resp.ResponseTime.Add(time.Duration(test.after)*time.Second))
			soft := Soften(&test.rules, req, s, d)
			if got := fmt.Sprintln(soft.Action, soft.Reason, soft.StaleIfError); got != test.want+"\n" {
				t.Errorf("%q, %d s old, for %q: got %swant %s", test.fields, test.after, test.request, got, test.want)
			}
			if soft.Age != d.Age || soft.TTL != d.TTL {
				t.Errorf("age %v and rest %v became %v and %v: the purge changes neither", d.Age, d.TTL, soft.Age, soft.TTL)
			}
		})
	}
}

// A soft purge never lets more be done with a response than without it.
func TestSoftenOnlyRestricts(t *testing.T) {
	t.Parallel()
	// The further down, the less is done without the origin.
	strictness := map[Action]int{Serve: 0, ServeStale: 1, Validate: 2, Fetch: 2, Refuse: 3}
	controls := []string{"max-age=60", "max-age=60, must-revalidate", "s-maxage=60", "no-cache", "max-age=0", "max-age=60, stale-while-revalidate=60, stale-if-error=600"}
	for _, control := range controls {
		for _, wish := range []string{"", "no-cache", "max-age=5", "min-fresh=50", "max-stale", "only-if-cached"} {
			for _, after := range []int{0, 30, 90, 1000} {
				rules := Rules{HonourRequest: true}
				resp := answer("Cache-Control: "+control, `Etag: "v"`)
				s := mustStore(t, &rules, get(), resp)
				req := NewRequest(get("Cache-Control: " + wish))
				d := Decide(&rules, req, s, resp.ResponseTime.Add(time.Duration(after)*time.Second))
				soft := Soften(&rules, req, s, d)
				if strictness[soft.Action] < strictness[d.Action] || soft.Action == Serve || s.Strict() && soft.Action == ServeStale {
					t.Errorf("%q after %d s for %q: %v became %v", control, after, wish, d.Action, soft.Action)
				}
			}
		}
	}
}

// What may have been made invalid is never sent before it was validated, nor in the
// place of an error.
func TestDoubt(t *testing.T) {
	t.Parallel()
	for _, control := range []string{"max-age=60", "max-age=60, must-revalidate", "max-age=60, stale-while-revalidate=600, stale-if-error=600"} {
		for _, wish := range []string{"", "no-cache", "max-stale", "only-if-cached"} {
			for _, field := range []string{`Etag: "v"`, "X: y"} {
				for _, after := range []int{0, 90, 1000} {
					rules := Rules{HonourRequest: true, StaleIfError: time.Hour}
					resp := answer("Cache-Control: "+control, field)
					s := mustStore(t, &rules, get(), resp)
					req := NewRequest(get("Cache-Control: " + wish))
					d := Decide(&rules, req, s, resp.ResponseTime.Add(time.Duration(after)*time.Second))
					want := Fetch
					switch {
					case d.Action == Refuse || wish == "only-if-cached":
						want = Refuse
					case s.HasValidator():
						want = Validate
					}
					if got := Doubt(&rules, req, s, d); got.Action != want || got.StaleIfError || got.Age != d.Age {
						t.Errorf("%q, %q after %d s for %q: %v became %+v, want %v", control, field, after, wish, d.Action, got, want)
					}
				}
			}
		}
	}
}
