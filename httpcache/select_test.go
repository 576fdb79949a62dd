package httpcache

import (
	"net/http"
	"testing"
	"time"
)

// RFC 9111 §4.1: some resources omit Vary from what they send to those who express no
// preference; what was stored for a preference goes before that.
func TestSelectVariedBeforeUnvaried(t *testing.T) {
	t.Parallel()
	en := get("Accept-Language: en")
	store := func(after time.Duration, fields ...string) variant {
		resp := answer(append(fields, "Etag: \"a\"", "Date: "+origo.Add(after).Format(http.TimeFormat))...)
		resp.RequestTime, resp.ResponseTime = origo.Add(after), origo.Add(after)
		return variant{mustStore(t, &Rules{}, en, resp)}
	}
	const vary = "Vary: Accept-Language"
	varied := store(0, "Cache-Control: max-age=60", vary)
	validated := store(0, "Cache-Control: no-cache", vary)
	meanwhile, after := store(59*time.Second, "Cache-Control: max-age=600"), store(60*time.Second, "Cache-Control: max-age=600")
	again := store(61*time.Second, "Cache-Control: max-age=60", vary)
	unchanged, ok := Freshen(&Rules{}, meanwhile.s, nil, Response{Status: 304, Header: http.Header{}, ResponseTime: origo.Add(time.Hour)})
	if !ok {
		t.Fatal("not freshened")
	}
	for _, test := range []struct {
		name string
		of   []variant
		want *Stored
	}{
		{"the older with Vary", []variant{varied, meanwhile}, varied.s},
		{"without Vary and only confirmed later", []variant{varied, {unchanged}}, varied.s},
		{"without Vary, come when the other was stale", []variant{varied, after}, after.s},
		{"with Vary again", []variant{varied, after, again}, again.s},
		{"without Vary and the older", []variant{after, again}, again.s},
		{"never fresh", []variant{validated, meanwhile}, meanwhile.s},
		{"without Vary, the newest", []variant{meanwhile, after}, after.s},
	} {
		for range len(test.of) {
			if best, ok := Select(NewRequest(en), test.of); !ok || best.s != test.want {
				t.Errorf("%s: selected vary %q of %s, want vary %q of %s", test.name,
					best.s.Vary(), best.s.Date(), test.want.Vary(), test.want.Date())
			}
			test.of = append(test.of[1:], test.of[0])
		}
	}
	if best, ok := Select(NewRequest(get("Accept-Language: fr")), []variant{varied, meanwhile}); !ok || best.s != meanwhile.s {
		t.Error("what has no Vary does not answer others")
	}
}
